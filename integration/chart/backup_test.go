package chart_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/yaml"

	appsv1 "k8s.io/api/apps/v1"

	"github.com/medic/cht-backup/integration/chart"
)

const backupChart = "../../charts/cht-backup"

// inSystem is the release of the README.
var inSystem = chart.Release{Name: "cht-backup", Namespace: "cht-backup-system"}

// renderBackup renders charts/cht-backup.
func renderBackup(t *testing.T, r chart.Release, values string) *chart.Rendered {
	t.Helper()
	out, err := tryBackup(r, values)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func tryBackup(r chart.Release, values string) (*chart.Rendered, error) {
	given, err := chart.Values(values)
	if err != nil {
		return nil, err
	}
	return chart.Render(backupChart, given, r)
}

// as gives an object of a rendered chart as its type; the test ends where it is not there
// or has a field that the type does not know.
func as[T any](t *testing.T, r *chart.Rendered, kind, name string) *T {
	t.Helper()
	o := r.Find(kind, name)
	if o == nil {
		t.Fatalf("no %s %s; there are\n%s", kind, name, listed(r))
	}
	typed := new(T)
	if err := runtime.DefaultUnstructuredConverter.FromUnstructuredWithValidation(o.Object, typed, true); err != nil {
		t.Fatalf("%s %s: %v", kind, name, err)
	}
	return typed
}

func listed(r *chart.Rendered) string {
	var b strings.Builder
	for _, all := range [][]*unstructured.Unstructured{r.Hooks, r.Objects} {
		for _, o := range all {
			fmt.Fprintf(&b, "%s %s/%s\n", o.GetKind(), o.GetNamespace(), o.GetName())
		}
	}
	return b.String()
}

// settings are what the controller reads.
func settings(t *testing.T, r *chart.Rendered, name string) map[string]any {
	t.Helper()
	got := map[string]any{}
	if err := yaml.UnmarshalStrict([]byte(as[corev1.ConfigMap](t, r, "ConfigMap", name).Data["config.yaml"]), &got); err != nil {
		t.Fatal(err)
	}
	return got
}

func text(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		return err.Error()
	}
	return string(b)
}

// A release of before has these names and selectors: Helm changes them in place only if
// they stay, and what a Deployment selects by can never change.
func TestBackupUpgradesInPlace(t *testing.T) {
	r := renderBackup(t, inSystem, "")
	d := as[appsv1.Deployment](t, r, "Deployment", "cht-backup")
	want := map[string]string{"app.kubernetes.io/name": "cht-backup", "app.kubernetes.io/instance": "cht-backup"}
	if d.Namespace != "cht-backup-system" || text(d.Spec.Selector.MatchLabels) != text(want) {
		t.Errorf("%s selects by %v", d.Namespace, d.Spec.Selector.MatchLabels)
	}
	for key, value := range want {
		if d.Labels[key] != value || d.Spec.Template.Labels[key] != value {
			t.Errorf("labels %v, of the pods %v", d.Labels, d.Spec.Template.Labels)
		}
	}
	for kind, name := range map[string]string{"ConfigMap": "cht-backup", "ServiceAccount": "cht-backup", "ClusterRole": "cht-backup-controller",
		"ClusterRoleBinding": "cht-backup-controller", "PersistentVolumeClaim": "cht-backup-catalog"} {
		if o := r.Find(kind, name); o == nil {
			t.Errorf("no %s %s in\n%s", kind, name, listed(r))
		}
	}
	if s := d.Spec.Template.Spec; s.ServiceAccountName != "cht-backup" || s.Volumes[0].ConfigMap.Name != "cht-backup" {
		t.Errorf("account %s, volumes %v", s.ServiceAccountName, s.Volumes)
	}
	if r.Find("Namespace", "cht-backup-system") != nil {
		t.Error("the release's own namespace is made by Helm, not by the chart")
	}
}

func TestBackupNames(t *testing.T) {
	for name, tt := range map[string]struct {
		release          chart.Release
		values           string
		full, home, wide string // wide is how what is in no namespace is called
	}{
		"the README's":         {inSystem, "", "cht-backup", "cht-backup-system", "cht-backup"},
		"a name that has it":   {chart.Release{Name: "my-cht-backup", Namespace: "a"}, "", "my-cht-backup", "a", "my-cht-backup.a"},
		"a name that has not":  {chart.Release{Name: "medic", Namespace: "a"}, "", "medic-cht-backup", "a", "medic-cht-backup.a"},
		"another short name":   {chart.Release{Name: "medic", Namespace: "a"}, "{nameOverride: keeper}", "medic-keeper", "a", "medic-keeper.a"},
		"a full name":          {chart.Release{Name: "medic", Namespace: "a"}, "{fullnameOverride: x}", "x", "a", "x.a"},
		"a place of its own":   {chart.Release{Name: "medic", Namespace: "a"}, `{namespaceOverride: "{{ .Release.Namespace }}-backup"}`, "medic-cht-backup", "a-backup", "medic-cht-backup.a-backup"},
		"the place by custom":  {chart.Release{Name: "medic", Namespace: "a"}, `{namespaceOverride: cht-backup-system}`, "medic-cht-backup", "cht-backup-system", "medic-cht-backup"},
		"a name that is long":  {chart.Release{Name: strings.Repeat("m", 53), Namespace: "a"}, "", strings.Repeat("m", 45), "a", strings.Repeat("m", 45) + ".a"},
		"an account of theirs": {inSystem, "{serviceAccount: {create: false, name: theirs}}", "cht-backup", "cht-backup-system", "cht-backup"},
	} {
		t.Run(name, func(t *testing.T) {
			r := renderBackup(t, tt.release, tt.values)
			d := as[appsv1.Deployment](t, r, "Deployment", tt.full)
			if d.Namespace != tt.home || r.Find("ClusterRole", tt.wide+"-controller") == nil {
				t.Errorf("in %s:\n%s", d.Namespace, listed(r))
			}
			// Nothing but what is made before the release is anywhere else.
			for _, o := range r.Objects {
				if o.GetNamespace() != "" && o.GetNamespace() != tt.home {
					t.Errorf("%s %s is in %s", o.GetKind(), o.GetName(), o.GetNamespace())
				}
				if o.GetLabels()["app.kubernetes.io/instance"] != tt.release.Name {
					t.Errorf("%s %s has labels %v", o.GetKind(), o.GetName(), o.GetLabels())
				}
			}
			for _, o := range r.Hooks {
				if o.GetNamespace() != "" && o.GetNamespace() != tt.release.Namespace {
					t.Errorf("hook %s %s is in %s, which need not be there yet", o.GetKind(), o.GetName(), o.GetNamespace())
				}
			}
			if ns := r.Find("Namespace", tt.home); (ns != nil) != (tt.home != tt.release.Namespace) || ns != nil && ns.GetAnnotations()["helm.sh/resource-policy"] != "keep" {
				t.Errorf("namespace %v", ns)
			}
			if !strings.Contains(r.Notes, "installed in namespace "+tt.home+".") {
				t.Error(r.Notes)
			}
		})
	}
}

// Two releases of one name, in two namespaces, have nothing in common.
func TestBackupReleasesDoNotClash(t *testing.T) {
	taken := map[string]string{}
	for _, namespace := range []string{"cht-uat", "cht-production", "cht-backup-system"} {
		r := renderBackup(t, chart.Release{Name: "cht", Namespace: namespace}, `{namespaces: ["{{ .Release.Namespace }}"], namespaceOverride: "{{ .Release.Namespace }}-backup", metrics: {}}`)
		for _, all := range [][]*unstructured.Unstructured{r.Objects, r.Hooks} {
			for _, o := range all {
				key := o.GetKind() + " " + o.GetNamespace() + "/" + o.GetName()
				if other := taken[key]; other != "" {
					t.Errorf("%s is of releases in %s and %s", key, other, namespace)
				}
				taken[key] = namespace
			}
		}
	}
}
