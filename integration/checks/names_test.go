package checks

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/prometheus/promql/parser"
	_ "sigs.k8s.io/controller-runtime/pkg/controller" // its metrics are served too
	runtimemetrics "sigs.k8s.io/controller-runtime/pkg/metrics"

	"github.com/medic/cht-backup/snapshot/metrics"
)

// served are the names of all series that the controller can serve, taken from its
// registry, and of those that Prometheus makes of every target.
func served(t *testing.T) map[string]bool {
	t.Helper()
	names := map[string]bool{"up": true}
	registry, ok := runtimemetrics.Registry.(prometheus.Collector)
	if !ok {
		t.Fatal("the registry does not tell what is on it")
	}
	descriptions := make(chan *prometheus.Desc)
	go func() {
		defer close(descriptions)
		registry.Describe(descriptions)
	}()
	name := regexp.MustCompile(`fqName: "([^"]+)"`)
	registered := map[string]bool{}
	for d := range descriptions {
		m := name.FindStringSubmatch(d.String())
		registered[m[1]] = true
		if !strings.HasPrefix(m[1], "cht_") {
			names[m[1]] = true
		}
	}
	for _, f := range metrics.Families() {
		if !registered[f.Name] {
			t.Errorf("%s is declared and not on the registry", f.Name)
		}
		if f.Kind == metrics.Histogram {
			names[f.Name+"_bucket"], names[f.Name+"_sum"], names[f.Name+"_count"] = true, true, true
		} else {
			names[f.Name] = true
		}
	}
	if len(names) < 60 {
		t.Fatalf("only %d names are served", len(names))
	}
	return names
}

// asked are the names and labels that an expression asks for.
func asked(expr parser.Expr) (names, labels []string) {
	parser.Inspect(expr, func(n parser.Node, _ []parser.Node) error {
		switch n := n.(type) {
		case *parser.VectorSelector:
			names = append(names, n.Name)
			for _, m := range n.LabelMatchers {
				labels = append(labels, m.Name)
			}
		case *parser.AggregateExpr:
			labels = append(labels, n.Grouping...)
		}
		return nil
	})
	return names, labels
}

// wrong tells what an expression asks for that is not served, or that it does not parse.
func wrong(t *testing.T, text string) []string {
	t.Helper()
	expr, err := parser.NewParser(parser.Options{}).ParseExpr(text)
	if err != nil {
		return []string{err.Error()}
	}
	names, labels := asked(expr)
	known := served(t)
	var all []string
	for _, n := range names {
		if !known[n] {
			all = append(all, "no metric "+n)
		}
	}
	if len(names) == 0 {
		all = append(all, "it asks for no metric")
	}
	usual := []string{"__name__", "job", "pod", "namespace", "schedule", "result", "reason", "le", "controller", "name", "code"}
	for _, l := range labels {
		if !slices.Contains(usual, l) {
			all = append(all, "no label "+l)
		}
	}
	return all
}

func TestAlertsAskForWhatIsServed(t *testing.T) {
	for _, r := range rulesOf(t, withRules, system) {
		for _, w := range wrong(t, r.Expr) {
			t.Errorf("%s: %s", r.Alert, w)
		}
	}
}

// A metric that is renamed in an alert is found.
func TestRenamedMetricIsFound(t *testing.T) {
	name := regexp.MustCompile(`cht_backup_[a-z_]+`)
	for _, r := range rulesOf(t, withRules, system) {
		for _, n := range name.FindAllString(r.Expr, -1) {
			if len(wrong(t, strings.ReplaceAll(r.Expr, n, n+"_s"))) == 0 {
				t.Errorf("%s: %s under another name is not missed", r.Alert, n)
			}
		}
	}
}

// headings are the second headings of a page.
func headings(t *testing.T, file string) map[string]bool {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]bool{}
	for line := range strings.Lines(string(text)) {
		if h, ok := strings.CutPrefix(strings.TrimSpace(line), "## "); ok {
			found[h] = true
		}
	}
	return found
}
