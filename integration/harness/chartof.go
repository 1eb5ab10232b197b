package harness

import (
	"encoding/json"
	"fmt"
	"strings"

	"helm.sh/helm/v3/pkg/chart"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/apiutil"
)

// ChartOf is a chart that installs these objects as they are, whatever its values. Their
// namespaces stay.
func ChartOf(name, version string, objects ...client.Object) (*chart.Chart, error) {
	ch := &chart.Chart{Metadata: &chart.Metadata{APIVersion: chart.APIVersionV2, Name: name, Version: version, Type: "application"}}
	for i, o := range objects {
		kind, err := apiutil.GVKForObject(o, scheme.Scheme)
		if err != nil {
			return nil, err
		}
		text, err := json.Marshal(o)
		if err != nil {
			return nil, err
		}
		u := &unstructured.Unstructured{}
		if err := json.Unmarshal(text, &u.Object); err != nil {
			return nil, err
		}
		u.SetGroupVersionKind(kind)
		unstructured.RemoveNestedField(u.Object, "status")
		unstructured.RemoveNestedField(u.Object, "metadata", "creationTimestamp")
		if text, err = json.Marshal(u.Object); err != nil {
			return nil, err
		}
		// JSON is YAML. Braces in a text must not be taken for a template's.
		template := strings.ReplaceAll(string(text), "{{", `{{"{{"}}`)
		ch.Templates = append(ch.Templates, &chart.File{Name: fmt.Sprintf("templates/%03d.yaml", i), Data: []byte(template)})
	}
	return ch, nil
}
