package chart

import (
	"fmt"
	"testing"
)

// chtFolder is the chart of the whole stack.
const chtFolder = "../../charts/cht"

// chtValues are those without which nothing is rendered, and then text.
func chtValues(t *testing.T, text string) map[string]any {
	t.Helper()
	values, err := Values(text)
	if err != nil {
		t.Fatal(err)
	}
	for key, own := range map[string]map[string]any{
		"image":  {"registry": "registry.example.org/cht", "tag": "5.1.0"},
		"images": {"upgradeService": "registry.example.org/upgrade-service:0.32"},
	} {
		given, _ := values[key].(map[string]any)
		for k, v := range given {
			own[k] = v
		}
		values[key] = own
	}
	return values
}

// chtAlone are chtValues, without the controller unless text speaks of it: half of the
// work of a rendering.
func chtAlone(t *testing.T, text string) map[string]any {
	t.Helper()
	values := chtValues(t, text)
	if values["cht-backup"] == nil {
		values["cht-backup"] = map[string]any{"enabled": false}
	}
	return values
}

// renderCHT renders the stack for release cht in namespace clinic.
func renderCHT(t *testing.T, text string) *Rendered {
	t.Helper()
	r, err := Render(chtFolder, chtAlone(t, text), Release{Name: "cht", Namespace: "clinic"})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestCHTTopologies(t *testing.T) {
	for _, nodes := range []int{1, 2, 3, 5} {
		r := renderCHT(t, fmt.Sprintf("couchdb: {nodes: %d}", nodes))
		for i := range nodes {
			name := "couchdb"
			if nodes > 1 {
				name = fmt.Sprintf("couchdb-%d", i+1)
			}
			for kind, object := range map[string]string{"Deployment": "cht-" + name, "Service": name, "PersistentVolumeClaim": name + "-claim0"} {
				if r.Find(kind, object) == nil {
					t.Errorf("%d nodes: no %s %s", nodes, kind, object)
				}
			}
		}
	}
}
