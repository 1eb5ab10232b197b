// Command imports draws which package of the product imports which. In: nothing; it asks
// `go list`. Out: a page for docs/reference, on standard output. A command and what is
// internal to it are drawn as one; an arrow is left out where others lead the same way.
package main

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"slices"
	"strings"
)

const module = "github.com/medic/cht-backup/"

func main() {
	if err := run(os.Stdout); err != nil {
		_, _ = fmt.Fprintln(os.Stderr, "imports:", err)
		os.Exit(1)
	}
}

func run(out io.Writer) error {
	listed, err := exec.Command("go", "list", "-f", `{{.ImportPath}} {{join .Imports " "}}`, "./api/...", "./snapshot/...", "./restore/...", "./schedule/...", "./cmd/...").Output()
	if err != nil {
		return fmt.Errorf("go list: %w", err)
	}
	all, err := read(listed)
	if err != nil {
		return err
	}
	_, err = out.Write(page(reduce(all)))
	return err
}

// imports are the packages of ours that each imports, as they are drawn.
type imports map[string]map[string]bool

// drawn is the name that a package is drawn under.
func drawn(path string) string {
	name, _, _ := strings.Cut(strings.TrimPrefix(path, module), "/internal/")
	return name
}

func read(listed []byte) (imports, error) {
	all := imports{}
	for lines := bufio.NewScanner(bytes.NewReader(listed)); lines.Scan(); {
		words := strings.Fields(lines.Text())
		from := drawn(words[0])
		if all[from] == nil {
			all[from] = map[string]bool{}
		}
		for _, path := range words[1:] {
			if to := drawn(path); strings.HasPrefix(path, module) && to != from {
				all[from][to] = true
			}
		}
	}
	for _, from := range slices.Sorted(maps.Keys(all)) {
		if way := all.way(from, from); way != nil {
			return nil, fmt.Errorf("what is below these folders imports in a circle, and is drawn as one: %s", strings.Join(way, " → "))
		}
	}
	return all, nil
}

// way is one from a package to another over at least one arrow, nil for none.
func (all imports) way(from, to string) []string {
	for _, next := range slices.Sorted(maps.Keys(all[from])) {
		if next == to {
			return []string{from, to}
		}
		if rest := all.way(next, to); rest != nil {
			return append([]string{from}, rest...)
		}
	}
	return nil
}

// reduce leaves only the arrows that no longer way stands for.
func reduce(all imports) imports {
	few := imports{}
	for from, to := range all {
		few[from] = map[string]bool{}
		for next := range to {
			if !slices.ContainsFunc(slices.Collect(maps.Keys(to)), func(other string) bool { return other != next && all.way(other, next) != nil }) {
				few[from][next] = true
			}
		}
	}
	return few
}

func page(all imports) []byte {
	var b bytes.Buffer
	b.WriteString("# Packages\n\nWho imports whom, of the product's own packages, without tests. A command and what is internal to it are one box; an arrow is left out " +
		"where others lead the same way. [developing.md](../developing.md#layout) says what each is for. Made by `make generate`.\n\n```mermaid\nflowchart LR\n")
	for _, from := range slices.Sorted(maps.Keys(all)) {
		fmt.Fprintf(&b, "  %s[%s]\n", id(from), from)
		for _, to := range slices.Sorted(maps.Keys(all[from])) {
			fmt.Fprintf(&b, "  %s --> %s\n", id(from), id(to))
		}
	}
	b.WriteString("```\n")
	return b.Bytes()
}

// id is a name as mermaid takes it.
func id(name string) string { return strings.NewReplacer("/", "_", "-", "_").Replace(name) }
