package chart

import (
	"strings"
	"testing"
)

func TestRender(t *testing.T) {
	r, err := Render("../../charts/cht-backup", map[string]any{"image": map[string]any{"tag": "1.2"}}, Release{Name: "cht-backup", Namespace: "system"})
	if err != nil {
		t.Fatal(err)
	}
	if d := r.Find("Deployment", "cht-backup"); d == nil || d.GetNamespace() != "system" || len(r.CRDs) != 3 || !strings.Contains(r.Notes, "namespace system") {
		t.Errorf("deployment %v, %d CRDs, notes %q", d, len(r.CRDs), r.Notes)
	}
	if r.Find("Deployment", "other") != nil {
		t.Error("an object was found that is not there")
	}
	if _, err := Render("nowhere", nil, Release{}); err == nil {
		t.Error("a chart that is not there was rendered")
	}
}
