package main

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"
)

func silent(string, ...any) {}

// unpack gives the files of an archive, written below a directory.
func unpack(t *testing.T, name, dir string) (names []string) {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	write := func(name string, mode os.FileMode, from io.Reader) {
		content, err := io.ReadAll(from)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, filepath.Base(name)), content, mode); err != nil {
			t.Fatal(err)
		}
		names = append(names, name)
	}
	if strings.HasSuffix(name, ".zip") {
		z, err := zip.NewReader(bytes.NewReader(text), int64(len(text)))
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range z.File {
			r, err := f.Open()
			if err != nil {
				t.Fatal(err)
			}
			write(f.Name, f.Mode(), r)
		}
		return names
	}
	g, err := gzip.NewReader(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	for r := tar.NewReader(g); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return names
		}
		if err != nil {
			t.Fatal(err)
		}
		write(h.Name, h.FileInfo().Mode(), r)
	}
}

// The archive of this machine's platform runs, completes, and is what the manifest says.
// Six platforms would be built for the same code.
func TestReleaseOfThisPlatform(t *testing.T) {
	native, err := parsePlatforms("native")
	if err != nil {
		t.Skip("no release is made for " + runtime.GOOS + "/" + runtime.GOARCH)
	}
	r := release{version: "v9.8.7", base: "https://releases.example.org/cht/v9.8.7/", out: t.TempDir(), root: "../..", platforms: native, say: silent}
	if err := r.run(t.Context()); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(r.out, "cht.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var m struct {
		Spec struct{ Platforms []pluginPlatform }
	}
	if err := yaml.UnmarshalStrict(text, &struct {
		APIVersion, Kind string
		Metadata         map[string]string
		Spec             map[string]any
	}{}); err != nil {
		t.Fatal(err)
	}
	if err := yaml.Unmarshal(text, &m); err != nil || len(m.Spec.Platforms) != 1 {
		t.Fatalf("%v\n%s", err, text)
	}
	p := m.Spec.Platforms[0]
	name, found := strings.CutPrefix(p.URI, "https://releases.example.org/cht/v9.8.7/kubectl-cht_v9.8.7_")
	if !found {
		t.Fatalf("%s", p.URI)
	}
	at := filepath.Join(r.out, "kubectl-cht_v9.8.7_"+name)
	packed, err := os.ReadFile(at)
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(packed)
	if p.SHA256 != hex.EncodeToString(sum[:]) {
		t.Errorf("the sum is of another archive: %s", p.SHA256)
	}
	if listed, err := os.ReadFile(filepath.Join(r.out, "SHA256SUMS")); err != nil || string(listed) != p.SHA256+"  "+filepath.Base(at)+"\n" {
		t.Errorf("%s, %v", listed, err)
	}

	dir := t.TempDir()
	if got := unpack(t, at, dir); !slices.Equal(got, []string{"kubectl-cht", "kubectl_complete-cht", "LICENSE", "README.md"}) {
		t.Errorf("files: %v", got)
	}
	out, err := exec.CommandContext(t.Context(), filepath.Join(dir, p.Bin), "version").CombinedOutput()
	if err != nil || !strings.Contains(string(out), "v9.8.7") {
		t.Errorf("%v: %s", err, out)
	}
	out, err = exec.CommandContext(t.Context(), filepath.Join(dir, "kubectl_complete-cht"), "sched").CombinedOutput()
	if err != nil || !strings.Contains(string(out), "schedule\t") {
		t.Errorf("the completer: %v: %s", err, out)
	}

	again := r
	again.out = t.TempDir()
	if err := again.run(t.Context()); err != nil {
		t.Fatal(err)
	}
	if repeated, err := os.ReadFile(filepath.Join(again.out, filepath.Base(at))); err != nil || !bytes.Equal(repeated, packed) {
		t.Errorf("the same source made another archive: %v", err)
	}

	validator, err := filepath.Abs("../../bin/validate-krew-manifest")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(validator); err != nil {
		t.Skip("krew's own validator is not built: make $PWD/bin/validate-krew-manifest")
	}
	if out, err := exec.CommandContext(t.Context(), validator, "-skip-install", "-manifest", filepath.Join(r.out, "cht.yaml")).CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

// What all platforms have in common, without building them.
func TestManifestOfAllPlatforms(t *testing.T) {
	platforms, err := parsePlatforms(strings.Join(all, ","))
	if err != nil {
		t.Fatal(err)
	}
	r := release{version: "v1.2.3", base: "https://h/p", homepage: "https://h", platforms: platforms}
	var made []archive
	for _, p := range platforms {
		made = append(made, archive{platform: p, name: p.os + p.arch, sum: strings.Repeat("0", 64)})
	}
	text, err := r.manifest(made)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"bin: kubectl-cht.exe", "os: darwin", "arch: arm64", "uri: https://h/p/windowsamd64", "homepage: https://h", "store/cht/v1.2.3/kubectl_complete-cht"} {
		if !strings.Contains(string(text), want) {
			t.Errorf("it does not say %q:\n%s", want, text)
		}
	}
	validator := "../../bin/validate-krew-manifest"
	if _, err := os.Stat(validator); err != nil {
		t.Skip("krew's own validator is not built: make $PWD/bin/validate-krew-manifest")
	}
	file := filepath.Join(t.TempDir(), "cht.yaml")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.CommandContext(t.Context(), validator, "-skip-install", "-manifest", file).CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

func TestZipped(t *testing.T) {
	files := []file{{"kubectl-cht.exe", 0o755, []byte("x")}, {"LICENSE", 0o644, []byte("l")}}
	one, err := zipped(files)
	if err != nil {
		t.Fatal(err)
	}
	two, err := zipped(files)
	if err != nil || !bytes.Equal(one, two) {
		t.Errorf("not the same twice: %v", err)
	}
	name := filepath.Join(t.TempDir(), "a.zip")
	if err := os.WriteFile(name, one, 0o600); err != nil {
		t.Fatal(err)
	}
	if got := unpack(t, name, t.TempDir()); !slices.Equal(got, []string{"kubectl-cht.exe", "LICENSE"}) {
		t.Error(got)
	}
}

func TestWhatIsNoRelease(t *testing.T) {
	linux := []platform{{"linux", "amd64"}}
	for name, r := range map[string]release{
		"no version":          {platforms: linux},
		"a version without v": {version: "1.2.3", platforms: linux},
		"flags of a linker":   {version: "v1.2.3 -X a=b", platforms: linux},
		"credentials":         {version: "v1.2.3", base: "https://u:p@h/x", platforms: linux},
		"a query":             {version: "v1.2.3", base: "https://h/x?sig=1", platforms: linux},
		"no URL":              {version: "v1.2.3", base: "dist", platforms: linux},
		"no platform":         {version: "v1.2.3"},
	} {
		if err := r.check(); err == nil {
			t.Errorf("%s was taken", name)
		}
	}
	for _, names := range []string{"", "plan9/amd64", "linux"} {
		if _, err := parsePlatforms(names); err == nil {
			t.Errorf("platforms %q were taken", names)
		}
	}
}
