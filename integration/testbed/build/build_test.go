package build

import (
	"os"
	"path/filepath"
	"testing"
)

func TestKeyFollowsTheSourcesOnly(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) {
		t.Helper()
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("go.mod", "module x")
	write("go.sum", "")
	write("cmd/a/main.go", "package main")
	write("cmd/b/main.go", "package main")
	one := target{name: "a", module: ".", pkg: "./cmd/a", sources: []string{"cmd/a"}}
	key := func(version string) string {
		t.Helper()
		k, err := one.key(dir, version)
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	first := key("go1")
	write("cmd/b/main.go", "package main // changed")
	write("cmd/a/main_test.go", "package main")
	if key("go1") != first {
		t.Error("another binary's source, or a test, changed the key")
	}
	if key("go2") == first {
		t.Error("another compiler has the same key")
	}
	write("cmd/a/main.go", "package main // changed")
	second := key("go1")
	if second == first {
		t.Error("changed source, same key")
	}
	write("go.sum", "x")
	if key("go1") == second {
		t.Error("changed versions, same key")
	}
}
