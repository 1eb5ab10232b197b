package checkup

import (
	"reflect"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
)

func TestAReportIsReadAsItWasWritten(t *testing.T) {
	r := Report{Format: Format, Version: "v1", Time: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC), Namespaces: []string{"a", "b"}, Catalog: "s3://b",
		Checks: []Check{pass(Clock, "", "it is %s", "right"), fail(Permissions, "a", "grant it", "may not"), unknown(CatalogReachable, "", "see", errText("x\ny"))}}
	m, err := r.ConfigMap("system", Name)
	if err != nil || m.Labels[Label] != "true" || m.Namespace != "system" || m.Name != Name {
		t.Fatalf("%+v, %v", m, err)
	}
	got, err := Read(m)
	if err != nil || !reflect.DeepEqual(got, r) {
		t.Errorf("%+v, %v", got, err)
	}
	if got.Checks[2].Message != "x y" || got.Checks[2].OK {
		t.Errorf("%+v", got.Checks[2])
	}
	if !got.Serves("b") || got.Serves("c") || !(Report{}).Serves("c") {
		t.Error("serves")
	}
}

type errText string

func (e errText) Error() string { return string(e) }

func TestAReportFitsWhateverFailed(t *testing.T) {
	var r Report
	r.Format = Format
	for range 5000 {
		r.Checks = append(r.Checks, fail(Permissions, strings.Repeat("n", 63), strings.Repeat("x", 5000), "%s", strings.Repeat("ü", 5000)))
	}
	m, err := r.ConfigMap("system", Name)
	if err != nil {
		t.Fatal(err)
	}
	if n := len(m.Data[Key]); n > longestJSON {
		t.Errorf("%d bytes do not fit into a ConfigMap", n)
	}
	if got, err := Read(m); err != nil || len(got.Checks) != mostChecks+1 {
		t.Errorf("%d, %v", len(got.Checks), err)
	}
}

func TestWhatIsNoReportIsRefused(t *testing.T) {
	for text, want := range map[string]string{"": "has no report.json", "{": "unexpected end", `{"format":2}`: "format 2", strings.Repeat(" ", longestJSON+1): "bytes"} {
		m := &corev1.ConfigMap{Data: map[string]string{Key: text}}
		if _, err := Read(m); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.20q: %v", text, err)
		}
	}
}
