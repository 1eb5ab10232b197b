package checks

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"testing"

	monitoringv1 "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/rulefmt"
	"github.com/prometheus/prometheus/promql/parser"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"github.com/medic/cht-backup/integration/chart"
)

const chartFolder = "../../charts/cht-backup"

var system = chart.Release{Name: "cht-backup", Namespace: "cht-backup-system"}

func render(t *testing.T, values string, r chart.Release) *chart.Rendered {
	t.Helper()
	v, err := chart.Values(values)
	if err != nil {
		t.Fatal(err)
	}
	out, err := chart.Render(chartFolder, v, r)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// strictly decodes an object of the chart into a type of the operator: a field that is
// not one is an error.
func strictly(t *testing.T, o *unstructured.Unstructured, into any) {
	t.Helper()
	text, err := json.Marshal(o.Object)
	if err != nil {
		t.Fatal(err)
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		t.Fatalf("%s %s: %v", o.GetKind(), o.GetName(), err)
	}
}

// rulesOf are the alerts of a release, as Prometheus reads them.
func rulesOf(t *testing.T, values string, r chart.Release) []rulefmt.Rule {
	t.Helper()
	var found *monitoringv1.PrometheusRule
	for _, o := range render(t, values, r).Objects {
		if o.GetKind() == "PrometheusRule" {
			found = &monitoringv1.PrometheusRule{}
			strictly(t, o, found)
		}
	}
	if found == nil {
		t.Fatal("the chart has no PrometheusRule")
	}
	text, err := yaml.Marshal(found.Spec)
	if err != nil {
		t.Fatal(err)
	}
	groups, errs := rulefmt.Parse(text, false, model.UTF8Validation, parser.NewParser(parser.Options{}), slog.New(slog.DiscardHandler))
	for _, err := range errs {
		t.Error(err)
	}
	if t.Failed() {
		t.FailNow()
	}
	var all []rulefmt.Rule
	for _, g := range groups.Groups {
		all = append(all, g.Rules...)
	}
	return all
}

const withRules = "metrics: {rules: {enabled: true}}"

// Each alert has what whoever is woken by it needs, and its page in docs/alerts.md.
func TestAlertsAreComplete(t *testing.T) {
	page := headings(t, "../../docs/alerts.md")
	seen := map[string]bool{}
	for _, r := range rulesOf(t, withRules, system) {
		if seen[r.Alert] {
			t.Errorf("%s twice", r.Alert)
		}
		seen[r.Alert] = true
		if s := r.Labels["severity"]; s != "critical" && s != "warning" {
			t.Errorf("%s: severity %q", r.Alert, s)
		}
		for _, a := range []string{"summary", "description", "runbook"} {
			if r.Annotations[a] == "" {
				t.Errorf("%s has no annotation %s", r.Alert, a)
			}
		}
		if !page[r.Alert] {
			t.Errorf("docs/alerts.md says nothing of %s", r.Alert)
		}
		delete(page, r.Alert)
	}
	for alert := range page {
		t.Errorf("docs/alerts.md speaks of %s, which there is not", alert)
	}
}

// Two releases alert each for its own controller.
func TestMonitorsAsTheOperatorReadsThem(t *testing.T) {
	var pods monitoringv1.PodMonitor
	strictly(t, render(t, "metrics: {podMonitor: {enabled: true}}", system).Find("PodMonitor", "cht-backup"), &pods)
	if e := pods.Spec.PodMetricsEndpoints; len(e) != 1 || e[0].Port == nil || *e[0].Port != "metrics" || !e[0].HonorLabels || len(e[0].RelabelConfigs) != 1 || e[0].RelabelConfigs[0].TargetLabel != "job" || *e[0].RelabelConfigs[0].Replacement != "cht-backup-system/cht-backup" {
		t.Errorf("endpoints %+v", e)
	}
	var services monitoringv1.ServiceMonitor
	strictly(t, render(t, "metrics: {serviceMonitor: {enabled: true, interval: 1m}}", system).Find("ServiceMonitor", "cht-backup"), &services)
	if e := services.Spec.Endpoints; len(e) != 1 || e[0].Port != "metrics" || !e[0].HonorLabels || e[0].Interval != "1m" || *e[0].RelabelConfigs[0].Replacement != "cht-backup-system/cht-backup" {
		t.Errorf("endpoints %+v", e)
	}
}
