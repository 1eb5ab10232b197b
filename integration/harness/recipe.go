package harness

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// recipe is what an image is made of. Paths in the image are the keys.
type recipe struct {
	Files      map[string]string // to files of this machine, mode 0755
	Texts      map[string]string // to small texts
	Links      map[string]string // to targets
	Dirs       []string          // PATH or PATH:MODE
	Entrypoint []string
	Cmd        []string
	Env        []string
	User       string
}

// write builds the image's archive, unless the same recipe with the same contents
// was built before.
func (b builder) write(ctx context.Context, name string, r recipe) (Archive, error) {
	base := filepath.Join(b.cache, strings.NewReplacer(":", "-", "/", "-").Replace(name))
	a := Archive{Name: name, File: base + ".tar"}
	sum, err := r.sum(name)
	if err != nil {
		return a, err
	}
	stamp := base + ".sum"
	if old, err := os.ReadFile(stamp); err == nil && string(old) == sum && exists(a.File) {
		return a, nil
	}
	texts, err := os.MkdirTemp(b.cache, ".texts-*")
	if err != nil {
		return a, err
	}
	defer func() { _ = os.RemoveAll(texts) }()
	args, err := r.arguments(texts)
	if err != nil {
		return a, err
	}
	if err := run(ctx, b.cache, nil, append([]string{b.testbed, "image", "build", "--name", name, "--out", a.File}, args...)...); err != nil {
		return a, err
	}
	return a, os.WriteFile(stamp, []byte(sum), 0o644)
}

// arguments of `testbed image build`; texts is a folder for the small files.
func (r recipe) arguments(texts string) ([]string, error) {
	var args []string
	for _, path := range sorted(r.Files) {
		args = append(args, "--file", r.Files[path]+"="+path+":755")
	}
	for i, path := range sorted(r.Texts) {
		file := filepath.Join(texts, fmt.Sprint(i))
		if err := os.WriteFile(file, []byte(r.Texts[path]), 0o644); err != nil {
			return nil, err
		}
		args = append(args, "--file", file+"="+path+":644")
	}
	for _, path := range sorted(r.Links) {
		args = append(args, "--link", r.Links[path]+"="+path)
	}
	for _, dir := range r.Dirs {
		args = append(args, "--dir", dir)
	}
	for _, env := range r.Env {
		args = append(args, "--env", env)
	}
	if r.User != "" {
		args = append(args, "--user", r.User)
	}
	for flag, list := range map[string][]string{"--entrypoint": r.Entrypoint, "--cmd": r.Cmd} {
		if len(list) == 0 {
			continue
		}
		text, err := json.Marshal(list)
		if err != nil {
			return nil, err
		}
		args = append(args, flag, string(text))
	}
	return args, nil
}

// sum identifies the image by all that goes into it.
func (r recipe) sum(name string) (string, error) {
	h := sha256.New()
	text, err := json.Marshal(r) // maps come out in order
	if err != nil {
		return "", err
	}
	_, _ = fmt.Fprintf(h, "%s\n%s\n", name, text) // a hash takes all
	for _, path := range sorted(r.Files) {
		one, err := fileSum(r.Files[path])
		if err != nil {
			return "", err
		}
		_, _ = fmt.Fprintf(h, "%s %s\n", path, one)
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

func fileSum(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer func() { _ = f.Close() }()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", fmt.Errorf("read %s: %w", path, err)
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}
