package main

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

// archive is one that was made.
type archive struct {
	platform platform
	name     string
	sum      string
	size     int
}

// file goes into an archive.
type file struct {
	name string
	mode os.FileMode
	text []byte
}

// when is what every file bears: a time that is the same tomorrow, and that zip can
// hold.
var when = time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC)

func (r release) pack(ctx context.Context, p platform) (archive, error) {
	binary, err := r.build(ctx, p)
	if err != nil {
		return archive{}, err
	}
	completer, script := p.completer()
	files := []file{{p.binary(), 0o755, binary}, {completer, 0o755, []byte(script)}}
	for _, name := range []string{"LICENSE", "README.md"} {
		text, err := os.ReadFile(filepath.Join(r.root, name)) //nolint:gosec // of this repository
		if err != nil {
			return archive{}, err
		}
		files = append(files, file{name, 0o644, text})
	}
	a := archive{platform: p, name: fmt.Sprintf("kubectl-cht_%s_%s_%s.tar.gz", r.version, p.os, p.arch)}
	packed := tarred
	if p.os == "windows" {
		a.name, packed = fmt.Sprintf("kubectl-cht_%s_%s_%s.zip", r.version, p.os, p.arch), zipped
	}
	text, err := packed(files)
	if err != nil {
		return archive{}, err
	}
	sum := sha256.Sum256(text)
	a.sum, a.size = hex.EncodeToString(sum[:]), len(text)
	return a, os.WriteFile(filepath.Join(r.out, a.name), text, 0o600)
}

// build gives the plugin's binary.
func (r release) build(ctx context.Context, p platform) ([]byte, error) {
	dir, err := os.MkdirTemp("", "dist-")
	if err != nil {
		return nil, err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	binary := filepath.Join(dir, p.binary())
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-buildvcs=false", "-ldflags", "-s -w -buildid= -X main.version="+r.version, "-o", binary, "./cmd/kubectl-cht") //nolint:gosec // the version has a form
	cmd.Dir = r.root
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS="+p.os, "GOARCH="+p.arch, "GOAMD64=v1", "GOARM64=v8.0", "GOFLAGS=")
	if out, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("build kubectl-cht: %w\n%s", err, out)
	}
	return os.ReadFile(binary) //nolint:gosec // just built
}

func tarred(files []file) ([]byte, error) {
	var b bytes.Buffer
	packed, err := gzip.NewWriterLevel(&b, gzip.BestCompression) // its header has neither name nor time
	if err != nil {
		return nil, err
	}
	t := tar.NewWriter(packed)
	for _, f := range files {
		if err := t.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: f.name, Mode: int64(f.mode), Size: int64(len(f.text)), ModTime: when, Format: tar.FormatUSTAR}); err != nil {
			return nil, err
		}
		if _, err := t.Write(f.text); err != nil {
			return nil, err
		}
	}
	for _, c := range []io.Closer{t, packed} {
		if err := c.Close(); err != nil {
			return nil, err
		}
	}
	return b.Bytes(), nil
}

func zipped(files []file) ([]byte, error) {
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for _, f := range files {
		h := &zip.FileHeader{Name: f.name, Method: zip.Deflate, Modified: when}
		h.SetMode(f.mode)
		w, err := z.CreateHeader(h)
		if err != nil {
			return nil, err
		}
		if _, err := w.Write(f.text); err != nil {
			return nil, err
		}
	}
	if err := z.Close(); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}
