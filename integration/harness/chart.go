package harness

import (
	"maps"
	"path/filepath"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/medic/cht-backup/integration/chart"
)

// ControllerObjects install the controller as `helm install` would, with the
// rights that the chart gives it, no more: what it lacks must show in the tests.
func ControllerObjects(c *Cluster) ([]client.Object, error) { return controllerObjects(c, nil) }

// ControllerWith is ControllerObjects with further values of the chart.
func ControllerWith(values map[string]any) func(*Cluster) ([]client.Object, error) {
	return func(c *Cluster) ([]client.Object, error) { return controllerObjects(c, values) }
}

func controllerObjects(c *Cluster, more map[string]any) ([]client.Object, error) {
	repository, tag := c.Images.Controller, ""
	if colon := strings.LastIndexByte(repository, ':'); colon > strings.LastIndexByte(repository, '/') {
		repository, tag = repository[:colon], repository[colon+1:]
	}
	given := map[string]any{
		"image": map[string]any{"repository": repository, "tag": tag},
		// The image's name is the same for every build of it: this is what rolls it out.
		"podAnnotations": map[string]any{"harness/image": c.controllerSum},
	}
	maps.Copy(given, more)
	rendered, err := chart.Render(filepath.Join(c.root, "charts/cht-backup"), given, chart.Release{Name: ControllerName, Namespace: ControllerNamespace})
	if err != nil {
		return nil, err
	}
	objects := []client.Object{&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: ControllerNamespace}}}
	for _, o := range rendered.Objects {
		objects = append(objects, o)
	}
	return objects, nil
}
