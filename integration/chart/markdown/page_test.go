package markdown

import (
	"reflect"
	"strings"
	"testing"
)

const sample = "# The `first` page\n" +
	"See [it](other.md#a-b), `kubectl cht list -A` and [x](https://example.org/a_(b)).\n" +
	"| a | b |\n|---|---|\n| `X\\|Y` | [r](r.md) |\n" +
	"## Twice\n## Twice\n" +
	"<!-- values of charts/x -->\n```yaml\na: 1\n```\n" +
	"1. in a list\n\n   ```sh\n   one\n   ```\n"

func TestParse(t *testing.T) {
	p, err := Parse("docs/x.md", sample)
	if err != nil {
		t.Fatal(err)
	}
	for _, anchor := range []string{"the-first-page", "twice", "twice-1"} {
		if !p.Anchors[anchor] {
			t.Errorf("no anchor %s in %v", anchor, p.Anchors)
		}
	}
	blocks := []Block{{"yaml", "a: 1\n", 10, "values of charts/x"}, {"sh", "one\n", 15, ""}}
	if !reflect.DeepEqual(p.Blocks, blocks) {
		t.Errorf("blocks %+v", p.Blocks)
	}
	if links := []Link{{"other.md#a-b", 2}, {"https://example.org/a_(b)", 2}, {"r.md", 5}}; !reflect.DeepEqual(p.Links, links) {
		t.Errorf("links %+v", p.Links)
	}
	if len(p.Rows) != 2 || p.Rows[1].Cells[0] != "`X|Y`" {
		t.Errorf("rows %+v", p.Rows)
	}
	if len(p.Codes) != 3 || p.Codes[1].Text != "kubectl cht list -A" || p.Codes[2].Text != "X|Y" {
		t.Errorf("codes %+v", p.Codes)
	}
	if _, err := Parse("docs/x.md", "```sh\nx"); err == nil {
		t.Error("a fence that is not closed was accepted")
	}
}

func TestCommands(t *testing.T) {
	for name, tt := range map[string]struct {
		text string
		want []string
	}{
		"comments":      {"a b # c\n# d\ne", []string{"a·b", "e"}},
		"quotes":        {`a 'b c' "d e"f ''`, []string{"a·b c·d ef·"}},
		"continued":     {"a \\\n  b", []string{"a·b"}},
		"several":       {"a && b | c; d", []string{"a", "b", "c", "d"}},
		"redirections":  {"a > f -x 2>/dev/null < g", []string{"a·-x"}},
		"variables":     {"A=b C_1=d e F=g", []string{"e·F=g"}},
		"in a word":     {"x $(a b) y", []string{"a·b", "x·$·y"}},
		"in quotes":     {`x="$(a b)" y`, []string{"a·b", "x=$·y"}},
		"a lone assign": {"X=1", nil},
	} {
		t.Run(name, func(t *testing.T) {
			all, err := Block{Text: tt.text, Line: 1}.Commands()
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, c := range all {
				got = append(got, strings.Join(c.Words, "·"))
			}
			if !reflect.DeepEqual(got, tt.want) {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
	for _, text := range []string{"a 'b", "a <<E\nE", "$(a"} {
		if _, err := (Block{Text: text}).Commands(); err == nil {
			t.Errorf("%q was accepted", text)
		}
	}
	if all, _ := (Block{Text: "a\n\nb \\\n c\nd", Line: 7}).Commands(); len(all) != 3 || all[1].Line != 9 || all[2].Line != 11 {
		t.Errorf("lines %+v", all)
	}
}
