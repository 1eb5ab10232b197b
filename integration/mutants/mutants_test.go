package main

import (
	"go/format"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// The list goes with the code. That the tests fail, `make mutants` shows; this is what
// can be seen without running them.
func TestList(t *testing.T) {
	root, err := root(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	page, err := os.ReadFile(filepath.Join(root, "docs/reliability.md"))
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(page), table(mutants)) {
		t.Error("docs/reliability.md has not the table that `go run ./integration/mutants -list` prints")
	}
	names := map[string]bool{}
	for _, m := range mutants {
		if names[m.name] {
			t.Errorf("two mutants are named %q", m.name)
		}
		names[m.name] = true
		text, err := m.changed(root)
		if err != nil {
			t.Error(err)
			continue
		}
		if strings.HasSuffix(m.file, ".go") {
			if _, err := format.Source(text); err != nil {
				t.Errorf("mutant %q is no Go: %v", m.name, err)
			}
		}
		if !has(t, filepath.Join(root, m.pkg), strings.Split(m.test, "/")[0]) {
			t.Errorf("mutant %q: %s has no test %s", m.name, m.pkg, m.test)
		}
	}
}

// has tells whether a package has a test of that name.
func has(t *testing.T, dir, test string) bool {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file) //nolint:gosec // of this module
		if err != nil {
			t.Fatal(err)
		}
		if regexp.MustCompile(`(?m)^func ` + test + `\(`).Match(text) {
			return true
		}
	}
	return false
}

func TestPattern(t *testing.T) {
	for want, tests := range map[string][]string{"^TestA$": {"TestA"}, "^TestA$/^b c$": {"TestA/b c"}, "^(TestA|TestB)$": {"TestA", "TestB"}} {
		if got := pattern(tests...); got != want {
			t.Errorf("%q: got %s, want %s", tests, got, want)
		}
	}
}
