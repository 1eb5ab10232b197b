package chart

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	yamlnodes "go.yaml.in/yaml/v3"
)

// TestEveryValueIsDescribedAndInTheSchema: helm-docs makes the reference of the comments,
// and the schema refuses what is not in it.
func TestEveryValueIsDescribedAndInTheSchema(t *testing.T) {
	raw, err := os.ReadFile(chtFolder + "/values.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var document yamlnodes.Node
	if err := yamlnodes.Unmarshal(raw, &document); err != nil {
		t.Fatal(err)
	}
	raw, err = os.ReadFile(chtFolder + "/values.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	schema := map[string]any{}
	if err := json.Unmarshal(raw, &schema); err != nil {
		t.Fatal(err)
	}
	w := walk{definitions: schema["definitions"].(map[string]any)}
	w.values("", document.Content[0], schema, false)
	for _, wrong := range w.wrong {
		t.Error(wrong)
	}
	if w.seen < 150 {
		t.Errorf("%d values were looked at", w.seen)
	}
}

type walk struct {
	definitions map[string]any
	wrong       []string
	seen        int
}

// values compares a table of the values file with its schema; described tells whether a
// table above it is.
func (w *walk) values(path string, table *yamlnodes.Node, schema map[string]any, described bool) {
	schema = w.resolved(schema)
	properties, _ := schema["properties"].(map[string]any)
	var names []string
	for i := 0; i < len(table.Content); i += 2 {
		key, value := table.Content[i], table.Content[i+1]
		at := path + "/" + key.Value
		names = append(names, key.Value)
		w.seen++
		own, known := properties[key.Value].(map[string]any)
		if !known {
			if !strings.HasPrefix(at, "/cht-backup/") && properties != nil { // those are of another chart
				w.wrong = append(w.wrong, at+" is not in the schema")
			}
			own = map[string]any{}
		}
		is := described || slices.ContainsFunc(strings.Split(key.HeadComment, "\n"), func(l string) bool { return strings.HasPrefix(l, "# -- ") })
		if value.Kind == yamlnodes.MappingNode && len(value.Content) > 0 {
			w.values(at, value, own, is)
		} else if !is {
			w.wrong = append(w.wrong, at+" has no description: put a comment that begins with # -- above it")
		}
	}
	for name, property := range properties {
		if !slices.Contains(names, name) && path+"/"+name != "/global" && w.resolved(property.(map[string]any))["type"] != nil && !partOfMore(path) {
			w.wrong = append(w.wrong, fmt.Sprintf("%s/%s is in the schema and not in the values file", path, name))
		}
	}
	if closed, _ := schema["additionalProperties"].(bool); properties != nil && path != "/cht-backup" && (closed || schema["additionalProperties"] == nil) {
		w.wrong = append(w.wrong, path+" takes keys that nobody knows")
	}
}

// partOfMore: tables of Kubernetes' own, of which a default shows a part.
func partOfMore(path string) bool { return strings.HasSuffix(path, "/resources") }

func (w *walk) resolved(schema map[string]any) map[string]any {
	name, _ := schema["$ref"].(string)
	if name == "" {
		return schema
	}
	definition, _ := w.definitions[strings.TrimPrefix(name, "#/definitions/")].(map[string]any)
	return definition
}
