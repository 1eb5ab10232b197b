package restore

import (
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

func TestOlder(t *testing.T) {
	for _, tt := range []struct {
		a, b string
		want bool
	}{
		{"4.20.0", "5.0.0", true}, {"5.0.0", "4.20.0", false}, {"4.9.0", "4.20.0", true}, {"5.0.0", "5.0.0", false}, {"v4.1", "v4.2", true},
		{"5.0.0-beta.2", "5.0.0-beta.10", true}, {"5.0.0-beta.10", "5.0.0", true}, {"5.0.0", "5.0.0-beta.1", false},
		{"latest", "5.0.0", false}, {"5.0.0", "a-branch", false}, {"", "", false},
	} {
		if got := older(tt.a, tt.b); got != tt.want {
			t.Errorf("%s before %s: %t", tt.a, tt.b, got)
		}
	}
}

func TestTag(t *testing.T) {
	for image, want := range map[string]string{
		"cht-api": "", "cht-api:4.1.0": "4.1.0", "registry.example.org:5000/medic/cht-api": "", "registry.example.org:5000/medic/cht-api:4.1.0": "4.1.0",
		"cht-api:4.1.0@sha256:abc": "4.1.0", "cht-api@sha256:abc": "",
	} {
		if got := tag(image); got != want {
			t.Errorf("%s: %q, want %q", image, got, want)
		}
	}
}

// What the plan says of images and charts that change.
func TestVersionWarnings(t *testing.T) {
	workload := func(chart, image string) *unstructured.Unstructured {
		return object(t, `{apiVersion: apps/v1, kind: Deployment, metadata: {name: cht-api, labels: {helm.sh/chart: `+chart+`}}, spec: {template: {spec: {containers: [{name: cht-api, image: "`+image+`"}]}}}}`)
	}
	for _, tt := range []struct {
		name, was, now string
		says           string
		down           bool
	}{
		{"the same", "medic/cht-api:5.0.0", "medic/cht-api:5.0.0", "", false},
		{"back to an older one", "medic/cht-api:4.20.0", "medic/cht-api:5.0.0", "from medic/cht-api:5.0.0 back to medic/cht-api:4.20.0", true},
		{"back to a newer one", "medic/cht-api:5.0.0", "medic/cht-api:4.20.0", "back to medic/cht-api:5.0.0", false},
		{"of a branch", "medic/cht-api:5.0.0", "medic/cht-api:my-branch", "from medic/cht-api:my-branch", false},
	} {
		text := strings.Join(imageWarnings(workload("cht", tt.was), workload("cht", tt.now)), "\n")
		if !strings.Contains(text, tt.says) || (text == "") != (tt.says == "") || strings.Contains(text, "a downgrade") != tt.down {
			t.Errorf("%s: %s", tt.name, text)
		}
	}
	for _, tt := range []struct {
		from, to string
		down     bool
	}{
		{"cht-chart-4x-1.1.0", "cht-chart-4x-1.0.0", true}, {"cht-chart-4x-1.0.0", "cht-chart-4x-1.1.0", false}, {"cht-2.0.0", "cht-2.0.0-rc.1", true}, {"cht", "cht-1.0.0", false},
	} {
		text := chartWarning("cht-api", tt.from, tt.to)
		if !strings.Contains(text, "chart "+tt.from+" and goes back to what chart "+tt.to) || strings.Contains(text, "a downgrade") != tt.down {
			t.Errorf("%s to %s: %s", tt.from, tt.to, text)
		}
	}
	if got := chartOf(workload("cht-chart-4x-1.1.0", "x")); got != "cht-chart-4x-1.1.0" {
		t.Errorf("chart %q", got)
	}
}
