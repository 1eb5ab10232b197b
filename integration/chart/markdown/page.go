package markdown

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"unicode"
)

// Page is one file.
type Page struct {
	// Path relative to the root of the repository, with slashes.
	Path   string
	Blocks []Block
	Codes  []Code
	Links  []Link
	// Anchors of the headings, as GitHub makes them.
	Anchors map[string]bool
	// Rows of tables, without the lines below their heads.
	Rows []Row
}

// Block is fenced text.
type Block struct {
	Language, Text string
	// Line of the first line of the text.
	Line int
	// Note is what a comment <!-- … --> in the line above the fence says.
	Note string
}

// Code is text between backticks in a line.
type Code struct {
	Text string
	Line int
}

// Link is what stands in the round brackets of a link.
type Link struct {
	Target string
	Line   int
}

// Row is a row of a table.
type Row struct {
	Cells []string
	Line  int
}

var (
	fence   = regexp.MustCompile("^ *```([a-z]*) *$")
	comment = regexp.MustCompile(`^ *<!-- *(.*?) *-->$`)
	heading = regexp.MustCompile(`^#{1,6} +(.*?) *$`)
	code    = regexp.MustCompile("``?([^`]+)``?")
	link    = regexp.MustCompile(`\]\(([^()\s]+(?:\([^()]*\))?[^()\s]*)\)`)
	shown   = regexp.MustCompile(`\[([^\]]*)\]\([^)]*\)`)
	ruler   = regexp.MustCompile(`^\|[ :|-]+\|$`)
)

// Pages reads README.md, CONTRIBUTING.md, the charts' README.md and all of docs, below
// the root of the repository.
func Pages(root string) ([]Page, error) {
	var pages []Page
	read := func(path string) error {
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		name, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		page, err := Parse(filepath.ToSlash(name), string(text))
		if err != nil {
			return err
		}
		pages = append(pages, page)
		return nil
	}
	for _, pattern := range []string{"README.md", "CONTRIBUTING.md", "charts/*/README.md", "integration/README.md", "integration/*/README.md"} {
		found, err := filepath.Glob(filepath.Join(root, pattern))
		if err != nil {
			return nil, err
		}
		for _, path := range found {
			if err := read(path); err != nil {
				return nil, err
			}
		}
	}
	err := filepath.WalkDir(filepath.Join(root, "docs"), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || filepath.Ext(path) != ".md" {
			return err
		}
		return read(path)
	})
	return pages, err
}

// Parse takes a page apart. A fence that is not closed is an error.
func Parse(path, text string) (Page, error) {
	p := Page{Path: path, Anchors: map[string]bool{}}
	var open *Block
	note, indent := "", 0
	for i, line := range strings.Split(text, "\n") {
		n := i + 1
		m := fence.FindStringSubmatch(line)
		switch {
		case open == nil && m != nil:
			open, indent = &Block{Language: m[1], Line: n + 1, Note: note}, len(line)-len(strings.TrimLeft(line, " "))
		case open != nil && m != nil && m[1] == "":
			p.Blocks, open = append(p.Blocks, *open), nil
		case open != nil:
			// A block in a list is indented as the list is.
			for j := 0; j < indent && strings.HasPrefix(line, " "); j++ {
				line = line[1:]
			}
			open.Text += line + "\n"
		default:
			p.line(n, line)
		}
		note = ""
		if m := comment.FindStringSubmatch(line); m != nil {
			note = m[1]
		}
	}
	if open != nil {
		return p, fmt.Errorf("%s:%d: the fence of this block is not closed", path, open.Line-1)
	}
	return p, nil
}

func (p *Page) line(n int, line string) {
	if m := heading.FindStringSubmatch(line); m != nil {
		anchor := Anchor(m[1])
		for i := 1; p.Anchors[anchor]; i++ {
			anchor = fmt.Sprintf("%s-%d", Anchor(m[1]), i)
		}
		p.Anchors[anchor] = true
	}
	if strings.HasPrefix(line, "|") && !ruler.MatchString(line) {
		row := Row{Line: n}
		for _, cell := range strings.Split(strings.Trim(strings.ReplaceAll(line, `\|`, "\x00"), "|"), "|") {
			row.Cells = append(row.Cells, strings.TrimSpace(strings.ReplaceAll(cell, "\x00", "|")))
		}
		p.Rows = append(p.Rows, row)
	}
	for _, m := range code.FindAllStringSubmatch(line, -1) {
		p.Codes = append(p.Codes, Code{Text: strings.ReplaceAll(m[1], `\|`, "|"), Line: n})
	}
	for _, m := range link.FindAllStringSubmatch(code.ReplaceAllString(line, ""), -1) {
		p.Links = append(p.Links, Link{Target: m[1], Line: n})
	}
}

// Anchor is the one that GitHub gives a heading.
func Anchor(heading string) string {
	heading = shown.ReplaceAllString(heading, "$1")
	return strings.Map(func(r rune) rune {
		switch r = unicode.ToLower(r); {
		case r == ' ':
			return '-'
		case unicode.IsLetter(r), unicode.IsNumber(r), r == '-', r == '_':
			return r
		}
		return -1
	}, heading)
}
