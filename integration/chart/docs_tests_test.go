package chart

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/medic/cht-backup/integration/chart/markdown"
)

var (
	testOf = regexp.MustCompile(`(?m)^func (Test[A-Z]\w*|Fuzz[A-Z]\w*|Benchmark[A-Z]\w*)\(`)
	// testList is a list of tests in a page, and the package that they are said to be in.
	testList = regexp.MustCompile("((?:`(?:Test|Fuzz|Benchmark)[A-Z]\\w*`(?:, | and )?)+) \\(`([a-z0-9/]+)`\\)")
	one      = regexp.MustCompile("`((?:Test|Fuzz|Benchmark)[A-Z]\\w*)`")
)

// A page that says which test shows something is right about it, and about its package.
func TestNamedTestsExist(t *testing.T) {
	tests, in := map[string]bool{}, map[string]bool{}
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		text, err := os.ReadFile(path) //nolint:gosec // of this repository
		if err != nil {
			return err
		}
		folder, err := filepath.Rel(root, filepath.Dir(path))
		for _, m := range testOf.FindAllStringSubmatch(string(text), -1) {
			tests[m[1]], in[folder+" "+m[1]] = true, true
		}
		return err
	})
	if err != nil || len(tests) < 500 {
		t.Fatalf("%d tests: %v", len(tests), err)
	}
	count := 0
	for _, p := range pages(t) {
		text := textOf(t, p)
		for _, m := range one.FindAllStringSubmatch(text, -1) {
			if count++; !tests[m[1]] {
				t.Errorf("%s names %s, and there is no such test", p.Path, m[1])
			}
		}
		for _, list := range testList.FindAllStringSubmatch(text, -1) {
			for _, m := range one.FindAllStringSubmatch(list[1], -1) {
				if !in[list[2]+" "+m[1]] {
					t.Errorf("%s names %s in %s, and it is not there", p.Path, m[1], list[2])
				}
			}
		}
	}
	if count == 0 {
		t.Error("no page names a test")
	}
}

func textOf(t *testing.T, p markdown.Page) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, p.Path))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// function is one that a page names with its file.
var function = regexp.MustCompile("`([a-z0-9/_-]+\\.go)`, `(\\w+)`")

func TestNamedFunctionsExist(t *testing.T) {
	count := 0
	for _, p := range pages(t) {
		text := textOf(t, p)
		for _, m := range function.FindAllStringSubmatch(text, -1) {
			count++
			code, err := os.ReadFile(filepath.Join(root, m[1]))
			if err != nil {
				t.Errorf("%s: %v", p.Path, err)
			} else if !regexp.MustCompile(`(?m)^func (\(\w+ \*?\w+\) )?` + m[2] + `\(`).Match(code) {
				t.Errorf("%s names %s in %s, and it is not there", p.Path, m[2], m[1])
			}
		}
	}
	if count == 0 {
		t.Error("no page names a function")
	}
}
