package chart

import (
	"net/url"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/medic/cht-backup/integration/chart/markdown"
)

const root = "../.."

// pages gives the documentation, and fails where it cannot be read or shrank.
func pages(t *testing.T) []markdown.Page {
	t.Helper()
	all, err := markdown.Pages(root)
	if err != nil {
		t.Fatal(err)
	}
	if len(all) < 15 {
		t.Fatalf("%d pages were found: they are not looked for in the right place", len(all))
	}
	return all
}

func TestLinksLeadSomewhere(t *testing.T) {
	all, links := pages(t), 0
	anchors := map[string]map[string]bool{}
	for _, p := range all {
		anchors[p.Path] = p.Anchors
	}
	for _, p := range all {
		for _, l := range p.Links {
			target, err := url.Parse(l.Target)
			if err != nil {
				t.Errorf("%s:%d: %v", p.Path, l.Line, err)
				continue
			}
			if target.Scheme != "" {
				if target.Scheme != "https" {
					t.Errorf("%s:%d: %s is not https", p.Path, l.Line, l.Target)
				}
				continue
			}
			links++
			to := p.Path
			if target.Path != "" {
				to = path.Join(path.Dir(p.Path), target.Path)
			}
			if _, err := os.Stat(filepath.Join(root, to)); err != nil {
				t.Errorf("%s:%d: %s leads to nothing: %v", p.Path, l.Line, l.Target, err)
			} else if of, isPage := anchors[to]; target.Fragment != "" && isPage && !of[target.Fragment] {
				t.Errorf("%s:%d: %s has no heading for #%s", p.Path, l.Line, to, target.Fragment)
			}
		}
	}
	if links < 60 {
		t.Errorf("%d links were found: they are not read any more", links)
	}
}

// Whoever reads only the index finds every page.
func TestIndexHasEveryPage(t *testing.T) {
	all := pages(t)
	at := slices.IndexFunc(all, func(p markdown.Page) bool { return p.Path == "docs/README.md" })
	if at < 0 {
		t.Fatal("docs/README.md is not there")
	}
	for _, p := range all {
		if !strings.HasPrefix(p.Path, "docs/") || p.Path == "docs/README.md" {
			continue
		}
		if !slices.ContainsFunc(all[at].Links, func(l markdown.Link) bool {
			file, _, _ := strings.Cut(l.Target, "#")
			return path.Join("docs", file) == p.Path
		}) {
			t.Errorf("docs/README.md does not name %s", p.Path)
		}
	}
}
