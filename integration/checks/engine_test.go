package checks

import (
	"fmt"
	"log/slog"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/rulefmt"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/promql/promqltest"
	"github.com/prometheus/prometheus/rules"
)

// scenario is a story told in series, one a line, and the alerts that fire at its end.
// A metric's name is without cht_backup_; OURS stands for the labels of our controller's
// pod, LATER for those of the pod that follows it, OTHER for another release's.
type scenario struct {
	name   string
	step   time.Duration // between two scrapes and two looks at the rule; default a minute
	series string
	at     time.Duration
	want   []string // labels of what fires; none: nothing
}

var places = strings.NewReplacer(
	"OURS", `job="cht-backup-system/cht-backup",pod="a"`,
	"LATER", `job="cht-backup-system/cht-backup",pod="b"`,
	"OTHER", `job="uat-backup/uat-cht-backup",pod="c"`)

func (s scenario) every() time.Duration {
	if s.step == 0 {
		return time.Minute
	}
	return s.step
}

// run looks at the rule at each step, as Prometheus does, and gives the labels of what
// fires in the end, and what is wrong with what would be sent.
func (s scenario) run(t *testing.T, rule rulefmt.Rule) (fires, faults []string) {
	t.Helper()
	load := "load " + s.every().String() + "\n"
	for line := range strings.Lines(s.series) {
		if line = strings.TrimSpace(line); line != "" {
			if !strings.HasPrefix(line, "up{") {
				line = "cht_backup_" + line
			}
			load += "  " + places.Replace(line) + "\n"
		}
	}
	storage := promqltest.LoadedStorage(t, load)
	defer func() { _ = storage.Close() }()
	expr, err := parser.NewParser(parser.Options{}).ParseExpr(rule.Expr)
	if err != nil {
		t.Fatal(err)
	}
	alert := rules.NewAlertingRule(rule.Alert, expr, time.Duration(rule.For), time.Duration(rule.KeepFiringFor), labels.FromMap(rule.Labels), labels.FromMap(rule.Annotations), labels.EmptyLabels(), "", true, slog.New(slog.DiscardHandler))
	query := rules.EngineQueryFunc(promqltest.NewTestEngine(t, false, 0, promqltest.DefaultMaxSamplesPerQuery), storage)
	for at := time.Duration(0); at <= s.at; at += s.every() {
		if _, err := alert.Eval(t.Context(), 0, time.Unix(0, 0).UTC().Add(at), query, &url.URL{}, 0); err != nil {
			t.Fatalf("%s: %v", s.name, err)
		}
	}
	for _, a := range alert.ActiveAlerts() {
		if a.State != rules.StateFiring {
			continue
		}
		var said []string
		a.Labels.Range(func(l labels.Label) {
			if l.Name != labels.AlertName && l.Name != "severity" {
				said = append(said, l.Name+"="+l.Value)
			}
		})
		fires = append(fires, strings.Join(said, ","))
		a.Annotations.Range(func(l labels.Label) {
			if strings.Contains(l.Value, "<no value>") || strings.Contains(l.Value, "error") || strings.Contains(l.Value, "{{") || strings.Contains(l.Value, "%!") {
				faults = append(faults, fmt.Sprintf("%s: %s", l.Name, l.Value))
			}
		})
	}
	slices.Sort(fires)
	return fires, faults
}

func (s scenario) holds(t *testing.T, rule rulefmt.Rule) bool {
	t.Helper()
	fires, _ := s.run(t, rule)
	return slices.Equal(fires, s.want)
}
