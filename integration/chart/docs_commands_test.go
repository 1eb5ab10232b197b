package chart

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// What developers are told to run is there: targets of make, folders, and tests by name.
func TestDevelopersCommandsExist(t *testing.T) {
	makefile, err := os.ReadFile(filepath.Join(root, "Makefile"))
	if err != nil {
		t.Fatal(err)
	}
	checked := 0
	eachCommand(t, func(page string, line int, words []string) {
		checked += checkDeveloper(t, string(makefile), page, line, words)
	})
	for _, p := range pages(t) {
		// A table of commands has them in a line.
		for _, code := range p.Codes {
			checked += checkDeveloper(t, string(makefile), p.Path, code.Line, strings.Fields(strings.ReplaceAll(code.Text, "'", "")))
		}
	}
	if checked < 20 {
		t.Errorf("%d commands were found: they are not read any more", checked)
	}
}

// eachCommand visits the commands in the shell blocks of all pages.
func eachCommand(t *testing.T, visit func(page string, line int, words []string)) {
	t.Helper()
	for _, p := range pages(t) {
		for _, b := range p.Blocks {
			if b.Language != "sh" {
				continue
			}
			commands, err := b.Commands()
			if err != nil {
				t.Errorf("%s:%d: %v", p.Path, b.Line, err)
			}
			for _, c := range commands {
				visit(p.Path, c.Line, c.Words)
			}
		}
	}
}

var isTest = regexp.MustCompile(`Test[A-Z]\w*`)

func checkDeveloper(t *testing.T, makefile, page string, line int, words []string) (checked int) {
	t.Helper()
	switch {
	case len(words) > 1 && words[0] == "make":
		for _, word := range words[1:] {
			if regexp.MustCompile(`^[a-z][a-z0-9-]*$`).MatchString(word) && !regexp.MustCompile(`(?m)^`+word+`:`).MatchString(makefile) {
				t.Errorf("%s:%d: make has no target %s", page, line, word)
			}
		}
	case len(words) > 2 && words[0] == "go" && slices.Contains([]string{"test", "run", "build", "doc"}, words[1]):
	default:
		return 0
	}
	folders := []string{"api", "cmd", "snapshot", "restore", "schedule", "integration"}
	for _, word := range words {
		folder := strings.TrimSuffix(word, "/...")
		if !strings.HasPrefix(word, "./") {
			continue
		}
		folders = []string{folder}
		if _, err := os.Stat(filepath.Join(root, folder)); err != nil {
			t.Errorf("%s:%d: %s is not there", page, line, word)
		}
	}
	for _, name := range isTest.FindAllString(strings.Join(words, " "), -1) {
		if !testNamed(t, folders, name) {
			t.Errorf("%s:%d: there is no test %s in %s", page, line, name, strings.Join(folders, ", "))
		}
	}
	return 1
}

// testNamed tells whether a test begins with the name, as -run takes it.
func testNamed(t *testing.T, folders []string, name string) bool {
	t.Helper()
	found := false
	for _, top := range folders {
		err := filepath.WalkDir(filepath.Join(root, top), func(path string, _ os.DirEntry, err error) error {
			if err != nil || found || !strings.HasSuffix(path, "_test.go") {
				return err
			}
			text, err := os.ReadFile(path)
			found = found || strings.Contains(string(text), "func "+name)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return found
}

func TestJSONInTheDocumentation(t *testing.T) {
	checked := 0
	for _, p := range pages(t) {
		for _, b := range p.Blocks {
			if b.Language != "json" {
				continue
			}
			checked++
			if !json.Valid([]byte(b.Text)) {
				t.Errorf("%s:%d: this is not JSON", p.Path, b.Line)
			}
		}
	}
	if checked < 4 {
		t.Errorf("%d blocks were found: they are not read any more", checked)
	}
}
