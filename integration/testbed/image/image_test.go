package image

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestNormalize(t *testing.T) {
	for in, want := range map[string]string{
		"couchdb":                    "docker.io/library/couchdb:latest",
		"couchdb:3":                  "docker.io/library/couchdb:3",
		"medic/couchdb:3":            "docker.io/medic/couchdb:3",
		"localhost/x":                "localhost/x:latest",
		"localhost:5000/x:1":         "localhost:5000/x:1",
		"reg.example.org/a/b":        "reg.example.org/a/b:latest",
		"reg.example.org/a@sha256:0": "reg.example.org/a@sha256:0",
	} {
		if got, err := Normalize(in); err != nil || got != want {
			t.Errorf("%s: %s, %v; want %s", in, got, err, want)
		}
	}
	for _, bad := range []string{"", " x", "a b", "reg.example.org/"} {
		if got, err := Normalize(bad); err == nil {
			t.Errorf("%q was taken as %s", bad, got)
		}
	}
}

func sample(t *testing.T) (*Layer, string) {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "tool"), []byte("content"), 0o755); err != nil {
		t.Fatal(err)
	}
	l := &Layer{}
	for _, err := range []error{
		l.AddFile(filepath.Join(dir, "tool"), "/usr/bin/tool", 0),
		l.AddLink("tool", "/usr/bin/alias"),
		l.AddDir("/tmp", 0o1777),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	return l, dir
}

func TestBuildIsReproducible(t *testing.T) {
	var first []byte
	for range 2 {
		l, dir := sample(t)
		file := filepath.Join(dir, "out.tar")
		if err := Build(file, "x:1", l, Config{Entrypoint: []string{"/usr/bin/tool"}}); err != nil {
			t.Fatal(err)
		}
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if first != nil && !bytes.Equal(first, data) {
			t.Error("two builds of the same input differ")
		}
		first = data
		if n, err := inspect(file); err != nil || len(n.Names) != 1 || n.Names[0] != "docker.io/library/x:1" {
			t.Errorf("names %v, %v", n.Names, err)
		}
	}
}

func TestLayerHasParentsFirst(t *testing.T) {
	l, _ := sample(t)
	var out bytes.Buffer
	if err := l.write(&out); err != nil {
		t.Fatal(err)
	}
	var got []string
	for r := tar.NewReader(&out); ; {
		h, err := r.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, h.Name)
	}
	if want := "tmp/ usr/ usr/bin/ usr/bin/alias usr/bin/tool"; strings.Join(got, " ") != want {
		t.Errorf("members %v, want %s", got, want)
	}
}

func TestNamesOfForeignArchives(t *testing.T) {
	oci := `{"manifests":[{"digest":"d","annotations":{"org.opencontainers.image.ref.name":"REF"}}]}`
	for _, c := range []struct{ member, content, want string }{
		{"index.json", strings.Replace(oci, "REF", "3.1", 1), "docker.io/library/my-image:3.1"},
		{"./index.json", strings.Replace(oci, "REF", "quay.io/a/b:2", 1), "quay.io/a/b:2"},
		{"index.json", `{"manifests":[{"digest":"d"}]}`, "docker.io/library/my-image:latest"},
		{"manifest.json", `[{"Config":"c","RepoTags":["a/b:1"]}]`, "docker.io/a/b:1"},
		{"manifest.json", `[{"Config":"c","RepoTags":null}]`, "docker.io/library/my-image:latest"},
	} {
		file := filepath.Join(t.TempDir(), "My-Image.tar")
		var raw bytes.Buffer
		w := tar.NewWriter(&raw)
		if err := w.WriteHeader(&tar.Header{Name: c.member, Size: int64(len(c.content)), Mode: 0o644}); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, c.content); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, raw.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
		n, err := inspect(file)
		if err != nil || len(n.Names) != 1 || n.Names[0] != c.want {
			t.Errorf("%s: %v, %v; want %s", c.content, n.Names, err, c.want)
			continue
		}
		var again bytes.Buffer
		if err := n.rewrite(file, &again); err != nil {
			t.Fatal(err)
		}
		if !bytes.Contains(again.Bytes(), []byte(c.want)) || !json.Valid(n.data) {
			t.Errorf("%s: the rewritten archive lacks %s", c.content, c.want)
		}
	}
}
