package chart

import (
	"encoding/json"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// What the chart brings for Prometheus and Grafana; integration/checks judges what is
// in it by their own libraries.

func monitoring(t *testing.T, values string, r Release) *Rendered {
	t.Helper()
	v, err := Values(values)
	if err != nil {
		t.Fatal(err)
	}
	out, err := Render("../../charts/cht-backup", v, r)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

var system = Release{Name: "cht-backup", Namespace: "cht-backup-system"}

func at(t *testing.T, o *unstructured.Unstructured, path ...string) string {
	t.Helper()
	if o == nil {
		t.Fatalf("there is no object to read %v of", path)
	}
	s, _, err := unstructured.NestedString(o.Object, path...)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// Their kinds may be unknown to the cluster: only what is asked for is made.
func TestMonitoringByDefault(t *testing.T) {
	r := monitoring(t, "", system)
	for _, o := range r.Objects {
		if strings.HasPrefix(o.GetAPIVersion(), "monitoring.coreos.com/") || o.GetKind() == "Service" {
			t.Errorf("%s %s is made by default", o.GetKind(), o.GetName())
		}
	}
	board := r.Find("ConfigMap", "cht-backup-dashboard")
	if board == nil || board.GetLabels()["grafana_dashboard"] != "1" || board.GetAnnotations()["grafana_folder"] != "CHT" {
		t.Errorf("the dashboard is %v", board)
	}
	if r := monitoring(t, "metrics: {dashboard: {enabled: false}}", system); r.Find("ConfigMap", "cht-backup-dashboard") != nil {
		t.Error("a dashboard that nobody wants")
	}
}

const everyMonitor = `{metrics: {podMonitor: {enabled: true, namespace: monitoring, labels: {release: prometheus}}, rules: {enabled: true, labels: {release: prometheus}}}}`

func TestMonitoringOfTwoReleases(t *testing.T) {
	seen := map[string]bool{}
	for _, release := range []Release{system, {Name: "uat", Namespace: "uat-backup"}, {Name: "uat", Namespace: "production-backup"}} {
		r := monitoring(t, strings.ReplaceAll(everyMonitor, "namespace: monitoring, ", ""), release)
		name := release.Name
		if name != "cht-backup" {
			name += "-cht-backup"
		}
		job := release.Namespace + "/" + name
		monitor, rules, board := r.Find("PodMonitor", name), r.Find("PrometheusRule", name), r.Find("ConfigMap", name+"-dashboard")
		if monitor == nil || rules == nil || board == nil {
			t.Fatalf("%s: not all objects are there", job)
		}
		for _, o := range []*unstructured.Unstructured{monitor, rules, board} {
			if o.GetNamespace() != release.Namespace || o.GetLabels()["app.kubernetes.io/instance"] != release.Name {
				t.Errorf("%s: %s %s/%s of %v", job, o.GetKind(), o.GetNamespace(), o.GetName(), o.GetLabels())
			}
			text, err := o.MarshalJSON()
			if err != nil || !strings.Contains(string(text), job) {
				t.Errorf("%s does not go by %s (%v)", o.GetKind(), job, err)
			}
		}
		for _, key := range []string{"uid", "title"} {
			var b map[string]any
			data, _, _ := unstructured.NestedStringMap(board.Object, "data")
			for file, text := range data {
				if err := json.Unmarshal([]byte(text), &b); err != nil || seen[file+key] || seen[b[key].(string)] {
					t.Errorf("%s: %s %v of %s is another's too, or %v", job, key, b[key], file, err)
				}
				seen[file+key], seen[b[key].(string)] = true, true
			}
		}
	}
}

func TestMonitorsFindTheController(t *testing.T) {
	r := monitoring(t, everyMonitor, system)
	deployment := r.Find("Deployment", "cht-backup")
	labels, _, _ := unstructured.NestedStringMap(deployment.Object, "spec", "template", "metadata", "labels")
	monitor := r.Find("PodMonitor", "cht-backup")
	want, _, _ := unstructured.NestedStringMap(monitor.Object, "spec", "selector", "matchLabels")
	for k, v := range want {
		if labels[k] != v {
			t.Errorf("the monitor wants %s=%s, the pod has %v", k, v, labels)
		}
	}
	in, _, _ := unstructured.NestedStringSlice(monitor.Object, "spec", "namespaceSelector", "matchNames")
	if monitor.GetNamespace() != "monitoring" || len(in) != 1 || in[0] != "cht-backup-system" || monitor.GetLabels()["release"] != "prometheus" {
		t.Errorf("the monitor is in %s, looks in %v, has labels %v", monitor.GetNamespace(), in, monitor.GetLabels())
	}

	r = monitoring(t, `{metrics: {serviceMonitor: {enabled: true}}}`, system)
	service := r.Find("Service", "cht-backup-metrics")
	if service == nil {
		t.Fatal("a ServiceMonitor without a Service")
	}
	picks, _, _ := unstructured.NestedStringMap(service.Object, "spec", "selector")
	for k, v := range picks {
		if labels[k] != v {
			t.Errorf("the Service wants %s=%s, the pod has %v", k, v, labels)
		}
	}
	want, _, _ = unstructured.NestedStringMap(r.Find("ServiceMonitor", "cht-backup").Object, "spec", "selector", "matchLabels")
	for k, v := range want {
		if service.GetLabels()[k] != v {
			t.Errorf("the monitor wants %s=%s, the Service has %v", k, v, service.GetLabels())
		}
	}
}

func TestRulesByValues(t *testing.T) {
	r := monitoring(t, `{metrics: {rules: {enabled: true, alertLabels: {team: data, severity: page}, disabled: [CHTStallLong], runbookURL: "https://wiki.example.org/alerts", thresholds: {hoursWithoutBackup: 7}}}}`, system)
	groups, _, _ := unstructured.NestedSlice(r.Find("PrometheusRule", "cht-backup").Object, "spec", "groups")
	rules, _, _ := unstructured.NestedSlice(groups[0].(map[string]any), "rules")
	found := map[string]map[string]any{}
	for _, rule := range rules {
		m := rule.(map[string]any)
		found[m["alert"].(string)] = m
	}
	recent := &unstructured.Unstructured{Object: found["CHTNoRecentBackup"]}
	if !strings.Contains(at(t, recent, "expr"), "> 7 * 3600") || at(t, recent, "labels", "team") != "data" || at(t, recent, "labels", "severity") != "page" ||
		at(t, recent, "annotations", "runbook") != "docs/alerts.md#chtnorecentbackup" || at(t, recent, "annotations", "runbook_url") != "https://wiki.example.org/alerts#chtnorecentbackup" {
		t.Errorf("the alert is %v", recent.Object)
	}
	if found["CHTStallLong"] != nil {
		t.Error("an alert that is disabled is there")
	}
}

func TestMonitoringRefuses(t *testing.T) {
	for values, says := range map[string]string{
		`{config: {metrics-address: "0"}, metrics: {podMonitor: {enabled: true}}}`:  "nothing to scrape",
		`{metrics: {podMonitor: {enabled: true}, serviceMonitor: {enabled: true}}}`: "enable one",
		`{metrics: {rules: {enabled: true, disabled: [CHTNoSuchAlert]}}}`:           "there is no alert CHTNoSuchAlert",
		`{metrics: {rules: {thresholds: {hoursWithoutBackups: 7}}}}`:                "hoursWithoutBackups",
		`{metrics: {rules: {thresholds: {failures: 0}}}}`:                           "failures",
		`{metrics: {rules: {thresholds: {heldSeconds: 30}}}}`:                       "heldSeconds",
		`{metrics: {podMonitor: {interval: often}}}`:                                "interval",
		`{metrics: {dashboards: {enabled: true}}}`:                                  "dashboards",
		`{metrics: {rules: {runbookURL: "docs/alerts.md"}}}`:                        "runbookURL",
		`{metrics: {rules: {enabled: true, thresholds: {minutesDown: null}}}}`:      "minutesDown",
		`{metrics: {dashboard: {labels: {grafana_dashboard: 1}}}}`:                  "grafana_dashboard",
	} {
		v, err := Values(values)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := Render("../../charts/cht-backup", v, system); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: got %v, want an error about %q", values, err, says)
		}
	}
}
