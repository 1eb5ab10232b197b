package harness

import (
	"maps"

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
	given := c.ControllerValues()
	maps.Copy(given, more)
	rendered, err := chart.Render(c.ChartFolder("cht-backup"), given, chart.Release{Name: ControllerName, Namespace: ControllerNamespace})
	if err != nil {
		return nil, err
	}
	objects := []client.Object{&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: ControllerNamespace}}}
	for _, o := range rendered.Objects {
		objects = append(objects, o)
	}
	return objects, nil
}
