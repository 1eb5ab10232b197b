package chart

import (
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	apiextensions "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"sigs.k8s.io/yaml"

	"github.com/medic/cht-backup/integration/chart/markdown"
)

// reasons are the values of the constants Reason… of the API, by their names.
func reasons(t *testing.T) map[string]string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(root, "api/v1alpha1/*.go"))
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]string{}
	for _, file := range files {
		parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(parsed, func(n ast.Node) bool {
			spec, is := n.(*ast.ValueSpec)
			if !is {
				return true
			}
			for i, name := range spec.Names {
				if !strings.HasPrefix(name.Name, "Reason") || i >= len(spec.Values) {
					continue
				}
				if literal, is := spec.Values[i].(*ast.BasicLit); is {
					value, err := strconv.Unquote(literal.Value)
					if err != nil {
						t.Fatal(err)
					}
					found[name.Name] = value
				}
			}
			return true
		})
	}
	if len(found) < 60 {
		t.Fatalf("%d reasons were found: they are not read any more", len(found))
	}
	return found
}

var oneWord = regexp.MustCompile("^`([A-Z][A-Za-z]+)`$")

// Whoever searches for a reason finds it, and finds none that there is not.
func TestTroubleshootingHasEveryReason(t *testing.T) {
	all := pages(t)
	at := slices.IndexFunc(all, func(p markdown.Page) bool { return p.Path == "docs/troubleshooting.md" })
	if at < 0 {
		t.Fatal("docs/troubleshooting.md is not there")
	}
	constants := reasons(t)
	known := slices.Collect(maps.Values(constants))
	written := map[string]int{}
	for _, row := range all[at].Rows {
		m := oneWord.FindStringSubmatch(row.Cells[0])
		if m == nil {
			continue
		}
		if before, twice := written[m[1]]; twice {
			t.Errorf("docs/troubleshooting.md:%d: %s stands in line %d already", row.Line, m[1], before)
		}
		written[m[1]] = row.Line
		if !slices.Contains(known, m[1]) {
			t.Errorf("docs/troubleshooting.md:%d: there is no reason %s", row.Line, m[1])
		}
		if len(row.Cells) < 3 || row.Cells[1] == "" {
			t.Errorf("docs/troubleshooting.md:%d: nothing is said of %s", row.Line, m[1])
		}
	}
	for name, value := range constants {
		if written[value] == 0 {
			t.Errorf("docs/troubleshooting.md lacks %s (%s)", value, name)
		}
	}
}

// Every field of the API says what it is: `kubectl explain` and docs/reference/api.md
// have nothing else to show.
func TestEveryFieldIsDescribed(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(root, "charts/cht-backup/crds/*.yaml"))
	if err != nil || len(files) != 3 {
		t.Fatalf("definitions %v, %v", files, err)
	}
	fields := 0
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var crd apiextensions.CustomResourceDefinition
		if err := yaml.Unmarshal(text, &crd); err != nil {
			t.Fatal(err)
		}
		for _, version := range crd.Spec.Versions {
			var walk func(at string, s apiextensions.JSONSchemaProps)
			walk = func(at string, s apiextensions.JSONSchemaProps) {
				for name, field := range s.Properties {
					here := at + "." + name
					if fields++; field.Description == "" && name != "metadata" {
						t.Errorf("%s has no comment", here)
					}
					walk(here, field)
				}
				if s.Items != nil && s.Items.Schema != nil {
					walk(at+"[]", *s.Items.Schema)
				}
			}
			walk(crd.Spec.Names.Kind, *version.Schema.OpenAPIV3Schema)
		}
	}
	if fields < 300 {
		t.Errorf("%d fields were found: they are not read any more", fields)
	}
}
