package checks

import (
	"encoding/json"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// board is what Grafana reads of a dashboard.
type board struct {
	UID           string `json:"uid"`
	Title         string `json:"title"`
	SchemaVersion int    `json:"schemaVersion"`
	Templating    struct {
		List []variable `json:"list"`
	} `json:"templating"`
	Panels []panel `json:"panels"`
}

type variable struct {
	Name    string         `json:"name"`
	Type    string         `json:"type"`
	Query   any            `json:"query"`
	Current map[string]any `json:"current"`
}

type panel struct {
	ID         int            `json:"id"`
	Type       string         `json:"type"`
	Title      string         `json:"title"`
	Datasource *source        `json:"datasource"`
	GridPos    map[string]int `json:"gridPos"`
	Targets    []struct {
		RefID      string  `json:"refId"`
		Expr       string  `json:"expr"`
		Datasource *source `json:"datasource"`
	} `json:"targets"`
}

type source struct {
	Type string `json:"type"`
	UID  string `json:"uid"`
}

func read(t *testing.T, text string) (b board) {
	t.Helper()
	if err := json.Unmarshal([]byte(text), &b); err != nil {
		t.Fatal(err)
	}
	return b
}

// boards are the file, which can be imported by hand, and what the chart makes of it.
func boards(t *testing.T) map[string]board {
	t.Helper()
	text, err := os.ReadFile(chartFolder + "/files/dashboard.json")
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]board{"the file": read(t, string(text))}
	data, _, err := unstructured.NestedStringMap(render(t, "metrics: {rules: {thresholds: {hoursWithoutBackup: 7}}}", system).Find("ConfigMap", "cht-backup-dashboard").Object, "data")
	if err != nil || len(data) != 1 {
		t.Fatalf("%d files, %v", len(data), err)
	}
	for name, text := range data {
		if !strings.HasSuffix(name, ".json") {
			t.Errorf("Grafana's sidecar passes over %s", name)
		}
		all[name] = read(t, text)
	}
	return all
}

// filled puts values in the place of Grafana's variables; what is left is unknown.
func filled(b board, expr string) string {
	for _, v := range b.Templating.List {
		value := map[string]string{"query": ".*", "constant": fmt.Sprint(v.Query), "datasource": v.Name}[v.Type]
		expr = regexp.MustCompile(`\$`+v.Name+`\b|\$\{`+v.Name+`\}`).ReplaceAllString(expr, value)
	}
	return strings.NewReplacer("$__rate_interval", "5m", "$__range", "7d", "$__interval", "1m").Replace(expr)
}

func TestDashboard(t *testing.T) {
	for name, b := range boards(t) {
		if b.UID == "" || len(b.UID) > 40 || b.Title == "" || b.SchemaVersion < 30 {
			t.Errorf("%s: uid %q, title %q, schema %d", name, b.UID, b.Title, b.SchemaVersion)
		}
		variables := map[string]variable{}
		for _, v := range b.Templating.List {
			variables[v.Name] = v
		}
		if v := variables["datasource"]; v.Type != "datasource" || v.Query != "prometheus" {
			t.Errorf("%s: no variable for the data source: %+v", name, v)
		}
		ids := map[int]bool{}
		space := map[string]string{}
		rows := 0
		for _, p := range b.Panels {
			if p.ID == 0 || ids[p.ID] || p.Title == "" || p.GridPos["w"] < 1 || p.GridPos["x"]+p.GridPos["w"] > 24 {
				t.Errorf("%s: panel %d %q at %v", name, p.ID, p.Title, p.GridPos)
			}
			ids[p.ID] = true
			for x := range p.GridPos["w"] {
				for y := range p.GridPos["h"] {
					at := fmt.Sprint(p.GridPos["x"]+x, " ", p.GridPos["y"]+y)
					if space[at] != "" {
						t.Errorf("%s: %q lies upon %q", name, p.Title, space[at])
					}
					space[at] = p.Title
				}
			}
			if p.Type == "row" {
				rows++
				continue
			}
			if len(p.Targets) == 0 {
				t.Errorf("%s: %q asks for nothing", name, p.Title)
			}
			refs := map[string]bool{}
			for _, q := range p.Targets {
				if q.RefID == "" || refs[q.RefID] || q.Datasource == nil || q.Datasource.UID != "${datasource}" || p.Datasource == nil || p.Datasource.UID != "${datasource}" {
					t.Errorf("%s: %q, query %q of %v", name, p.Title, q.RefID, q.Datasource)
				}
				refs[q.RefID] = true
				for _, w := range wrong(t, filled(b, q.Expr)) {
					t.Errorf("%s: %q: %s in %s", name, p.Title, w, q.Expr)
				}
				if !strings.Contains(q.Expr, `job=~"$job"`) {
					t.Errorf("%s: %q is not of the controller that was chosen: %s", name, p.Title, q.Expr)
				}
			}
		}
		if rows < 5 {
			t.Errorf("%s: %d rows", name, rows)
		}
	}
}

// The variables' own queries are label_values(SELECTOR, LABEL).
func TestDashboardVariables(t *testing.T) {
	form := regexp.MustCompile(`^label_values\((.+), ([a-z]+)\)$`)
	for name, b := range boards(t) {
		asked := 0
		for _, v := range b.Templating.List {
			if v.Type != "query" {
				continue
			}
			asked++
			q, ok := v.Query.(map[string]any)
			m := form.FindStringSubmatch(fmt.Sprint(q["query"]))
			if !ok || m == nil {
				t.Errorf("%s: variable %s asks %v", name, v.Name, v.Query)
				continue
			}
			for _, w := range wrong(t, filled(b, m[1])) {
				t.Errorf("%s: variable %s: %s", name, v.Name, w)
			}
		}
		if asked != 2 {
			t.Errorf("%s: %d variables ask for something", name, asked)
		}
		for _, v := range b.Templating.List {
			if want := map[bool]string{true: "26", false: "7"}[name == "the file"]; v.Name == "hours" && (v.Query != want || v.Current["value"] != want) {
				t.Errorf("%s: hours are %v, %v", name, v.Query, v.Current)
			}
			if v.Name == "job" && name != "the file" && v.Current["value"] != "cht-backup-system/cht-backup" {
				t.Errorf("%s shows %v at first", name, v.Current)
			}
		}
	}
}
