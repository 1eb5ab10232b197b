package e2e

import (
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/medic/cht-backup/integration/chart/markdown"
)

// TestDocumentedObjects has the API server judge every object that the documentation
// shows: with the rules of the kinds, and without a field that it does not know.
func TestDocumentedObjects(t *testing.T) {
	t.Parallel()
	c := suite.Cluster(t)
	namespace := c.TempNamespace(t, "documented")
	pages, err := markdown.Pages("../..")
	if err != nil {
		t.Fatal(err)
	}
	judged := 0
	for _, page := range pages {
		for _, block := range page.Blocks {
			if block.Language != "yaml" || !strings.HasPrefix(block.Text, "apiVersion:") {
				continue
			}
			for _, text := range strings.Split(block.Text, "\n---\n") {
				o := &unstructured.Unstructured{}
				if err := yaml.Unmarshal([]byte(text), &o.Object); err != nil {
					t.Errorf("%s:%d: %v", page.Path, block.Line, err)
					continue
				}
				if o.GetNamespace() != "" {
					o.SetNamespace(namespace)
				}
				if err := client.WithFieldValidation(c.Client, "Strict").Create(t.Context(), o, client.DryRunAll); err != nil {
					t.Errorf("%s:%d: %s %s: %v", page.Path, block.Line, o.GetKind(), o.GetName(), err)
				}
				judged++
			}
		}
	}
	if judged < 12 {
		t.Errorf("%d objects were found: they are not read any more", judged)
	}
	bad := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "backup.communityhealthtoolkit.org/v1alpha1", "kind": "Backup",
		"metadata": map[string]any{"name": "bad", "namespace": namespace}, "spec": map[string]any{"maxStall": "5m"}}}
	if err := c.Client.Create(t.Context(), bad, client.DryRunAll); err == nil || !strings.Contains(err.Error(), "between 500ms and 60s") {
		t.Errorf("a maxStall of five minutes: %v", err)
	}
}
