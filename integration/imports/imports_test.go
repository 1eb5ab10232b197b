package main

import (
	"strings"
	"testing"
)

func TestReduced(t *testing.T) {
	all, err := read([]byte(strings.ReplaceAll(`M/cmd/tool fmt M/cmd/tool/internal/a M/b
M/cmd/tool/internal/a M/c
M/b M/c M/d
M/c M/d
M/d strings
`, "M/", module)))
	if err != nil {
		t.Fatal(err)
	}
	got := string(page(reduce(all)))
	for arrow, want := range map[string]bool{"cmd_tool --> b\n": true, "cmd_tool --> c\n": false, "b --> c\n": true, "b --> d\n": false, "c --> d\n": true, "internal/": false, "d[d]\n": true} {
		if strings.Contains(got, arrow) != want {
			t.Errorf("%q: wanted %v in\n%s", arrow, want, got)
		}
	}
}

func TestCircle(t *testing.T) {
	all := strings.ReplaceAll("M/cmd/tool/internal/a M/b\nM/b M/cmd/tool/internal/c\n", "M/", module)
	if _, err := read([]byte(all)); err == nil || !strings.Contains(err.Error(), "b → cmd/tool → b") {
		t.Errorf("%v", err)
	}
}
