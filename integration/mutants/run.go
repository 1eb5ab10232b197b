package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"
)

// mutant is one safety taken out.
type mutant struct {
	// name says which, as in "without NAME".
	name string
	// file, from the repository's root, in which old stands exactly once and becomes new.
	file, old, new string
	// test of package pkg must fail then. A subtest is named after a slash.
	pkg, test string
}

// within bounds one run of a test, without the compiler's time.
const within = 2 * time.Minute

// changed gives the mutant's file.
func (m mutant) changed(root string) ([]byte, error) {
	text, err := os.ReadFile(filepath.Join(root, m.file)) //nolint:gosec // of the list
	if err != nil {
		return nil, err
	}
	if n := strings.Count(string(text), m.old); n != 1 || m.old == m.new {
		return nil, fmt.Errorf("%s has the text of mutant %q %d times, and must have it once; change the list with the code", m.file, m.name, n)
	}
	return []byte(strings.Replace(string(text), m.old, m.new, 1)), nil
}

// killed demands that the test fails with the mutant: the test, and not the compiler.
// It gives what the test said.
func (m mutant) killed(ctx context.Context) (said string, err error) {
	root, err := root(ctx)
	if err != nil {
		return "", err
	}
	text, err := m.changed(root)
	if err != nil {
		return "", err
	}
	dir, err := os.MkdirTemp("", "mutant")
	if err != nil {
		return "", err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	overlay, err := json.Marshal(map[string]any{"Replace": map[string]string{filepath.Join(root, m.file): filepath.Join(dir, "mutant.go")}})
	if err != nil {
		return "", err
	}
	if err := errors.Join(os.WriteFile(filepath.Join(dir, "mutant.go"), text, 0o600), os.WriteFile(filepath.Join(dir, "overlay.json"), overlay, 0o600)); err != nil {
		return "", err
	}
	out, err := goTest(ctx, root, m.pkg, pattern(m.test), "-overlay", filepath.Join(dir, "overlay.json"))
	failed := strings.Contains(out, "--- FAIL: "+m.test) || strings.Contains(out, "panic: ") && strings.Contains(out, "FAIL\t")
	switch {
	case ctx.Err() != nil:
		return "", ctx.Err()
	case err == nil:
		return "", fmt.Errorf("%s passes without it", m.test)
	case !failed:
		return "", fmt.Errorf("%s did not fail, but could not be run:\n%s", m.test, out)
	}
	return told(out), nil
}

// told picks the first lines of a test's output in which a test speaks.
func told(out string) string {
	var lines []string
	for line := range strings.Lines(out) {
		if strings.Contains(line, "_test.go:") || strings.HasPrefix(line, "panic: ") {
			lines = append(lines, line)
		}
		if len(lines) == 5 {
			break
		}
	}
	return strings.Join(lines, "")
}

// unchanged demands that all the tests pass with the code as it is, none skipped: one
// that never passes kills every mutant.
func unchanged(ctx context.Context, chosen []mutant) error {
	root, err := root(ctx)
	if err != nil {
		return err
	}
	byPackage := map[string][]string{}
	for _, m := range chosen {
		if !slices.Contains(byPackage[m.pkg], m.test) {
			byPackage[m.pkg] = append(byPackage[m.pkg], m.test)
		}
	}
	for pkg, tests := range byPackage {
		for _, depth := range []bool{false, true} { // a pattern with a subtest hides tests that have none of that name
			some := slices.DeleteFunc(slices.Clone(tests), func(t string) bool { return strings.Contains(t, "/") != depth })
			for len(some) > 0 {
				run := some
				if depth {
					run = some[:1]
				}
				some = some[len(run):]
				out, err := goTest(ctx, root, pkg, pattern(run...))
				if err != nil {
					return fmt.Errorf("the tests of %s fail without any mutant:\n%s", pkg, out)
				}
				for _, test := range run {
					if !strings.Contains(out, "--- PASS: "+test) {
						return fmt.Errorf("test %s of %s was not run, or skipped; a mutant needs a test that passes:\n%s", test, pkg, out)
					}
				}
			}
		}
	}
	return nil
}

// pattern matches these tests and no other.
func pattern(tests ...string) string {
	if len(tests) == 1 {
		levels := strings.Split(tests[0], "/")
		for i := range levels {
			levels[i] = "^" + regexp.QuoteMeta(levels[i]) + "$"
		}
		return strings.Join(levels, "/")
	}
	return "^(" + strings.Join(tests, "|") + ")$"
}

func goTest(ctx context.Context, root, pkg, run string, flags ...string) (string, error) {
	args := append([]string{"test", "-v", "-vet=off", "-timeout", within.String(), "-run", run}, flags...)
	cmd := exec.CommandContext(ctx, "go", append(args, pkg)...) //nolint:gosec // of the list
	cmd.Dir = root
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// root is the folder of the module.
func root(ctx context.Context) (string, error) {
	out, err := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}", "github.com/medic/cht-backup").Output()
	if err != nil {
		return "", fmt.Errorf("look for the module's folder: %w", err)
	}
	return strings.TrimSpace(string(out)), nil
}
