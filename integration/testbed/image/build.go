package image

import (
	"archive/tar"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"time"
)

// Config is what a container of the image runs, in the words of the OCI image
// specification.
type Config struct {
	User       string   `json:"User,omitempty"`
	Env        []string `json:"Env,omitempty"`
	Entrypoint []string `json:"Entrypoint,omitempty"`
	Cmd        []string `json:"Cmd,omitempty"`
	WorkingDir string   `json:"WorkingDir,omitempty"`
}

type descriptor struct {
	MediaType   string            `json:"mediaType"`
	Digest      string            `json:"digest"`
	Size        int64             `json:"size"`
	Annotations map[string]string `json:"annotations,omitempty"`
}

const (
	nameAnnotation = "io.containerd.image.name"
	refAnnotation  = "org.opencontainers.image.ref.name"
)

// Build writes the image as an OCI archive to file.
func Build(file, name string, layer *Layer, config Config) error {
	name, err := Normalize(name)
	if err != nil {
		return err
	}
	content, err := os.CreateTemp(filepath.Dir(file), ".layer-*")
	if err != nil {
		return err
	}
	defer func() { _ = content.Close(); _ = os.Remove(content.Name()) }()
	sum := sha256.New()
	if err := layer.write(io.MultiWriter(content, sum)); err != nil {
		return err
	}
	size, err := content.Seek(0, io.SeekCurrent)
	if err != nil {
		return err
	}
	if _, err := content.Seek(0, io.SeekStart); err != nil {
		return err
	}
	layerDigest := "sha256:" + hex.EncodeToString(sum.Sum(nil))
	part := file + ".part"
	out, err := os.Create(part)
	if err != nil {
		return err
	}
	defer func() { _ = out.Close(); _ = os.Remove(part) }()
	w := &layout{tar: tar.NewWriter(out)}
	w.member("oci-layout", []byte(`{"imageLayoutVersion":"1.0.0"}`))
	w.stream(blob(layerDigest), size, content)
	configDesc := w.blob("application/vnd.oci.image.config.v1+json", map[string]any{
		"created": time.Unix(0, 0).UTC(), "architecture": runtime.GOARCH, "os": "linux", "config": config,
		"rootfs":  map[string]any{"type": "layers", "diff_ids": []string{layerDigest}},
		"history": []any{map[string]any{"created": time.Unix(0, 0).UTC(), "created_by": "testbed image build"}},
	})
	manifest := w.blob("application/vnd.oci.image.manifest.v1+json", map[string]any{
		"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json", "config": configDesc,
		"layers": []descriptor{{MediaType: "application/vnd.oci.image.layer.v1.tar", Digest: layerDigest, Size: size}},
	})
	manifest.Annotations = map[string]string{nameAnnotation: name, refAnnotation: tagOf(name)}
	index, err := json.Marshal(map[string]any{"schemaVersion": 2,
		"mediaType": "application/vnd.oci.image.index.v1+json", "manifests": []descriptor{manifest}})
	if err != nil {
		return err
	}
	w.member("index.json", index)
	if err := w.close(); err != nil {
		return fmt.Errorf("write image %s: %w", name, err)
	}
	if err := out.Close(); err != nil {
		return err
	}
	return os.Rename(part, file)
}

func blob(digest string) string { return "blobs/sha256/" + digest[len("sha256:"):] }

// layout writes the members of an OCI archive and keeps the first error.
type layout struct {
	tar *tar.Writer
	err error
}

func (w *layout) stream(name string, size int64, content io.Reader) {
	if w.err != nil {
		return
	}
	w.err = w.tar.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Size: size, Mode: 0o644, ModTime: time.Unix(0, 0)})
	if w.err == nil {
		_, w.err = io.Copy(w.tar, content)
	}
}

func (w *layout) member(name string, data []byte) {
	if w.err != nil {
		return
	}
	w.err = w.tar.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Size: int64(len(data)), Mode: 0o644, ModTime: time.Unix(0, 0)})
	if w.err == nil {
		_, w.err = w.tar.Write(data)
	}
}

func (w *layout) blob(mediaType string, value any) descriptor {
	data, err := json.Marshal(value)
	if err != nil && w.err == nil {
		w.err = err
	}
	sum := sha256.Sum256(data)
	d := descriptor{MediaType: mediaType, Digest: "sha256:" + hex.EncodeToString(sum[:]), Size: int64(len(data))}
	w.member(blob(d.Digest), data)
	return d
}

func (w *layout) close() error {
	if w.err != nil {
		return w.err
	}
	return w.tar.Close()
}
