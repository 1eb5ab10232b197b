package harness

import (
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"helm.sh/helm/v3/pkg/chart/loader"
	"helm.sh/helm/v3/pkg/chartutil"
	"helm.sh/helm/v3/pkg/engine"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// ControllerObjects install the controller as `helm install` would, with the
// rights that the chart gives it, no more: what it lacks must show in the tests.
func ControllerObjects(c *Cluster) ([]client.Object, error) { return controllerObjects(c, nil) }

// ControllerWith is ControllerObjects with further values of the chart.
func ControllerWith(values map[string]any) func(*Cluster) ([]client.Object, error) {
	return func(c *Cluster) ([]client.Object, error) { return controllerObjects(c, values) }
}

func controllerObjects(c *Cluster, more map[string]any) ([]client.Object, error) {
	chart, err := loader.Load(filepath.Join(c.root, "charts/cht-backup"))
	if err != nil {
		return nil, fmt.Errorf("load the chart: %w", err)
	}
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
	values, err := chartutil.ToRenderValues(chart, given,
		chartutil.ReleaseOptions{Name: ControllerName, Namespace: ControllerNamespace, IsInstall: true}, chartutil.DefaultCapabilities)
	if err != nil {
		return nil, fmt.Errorf("values of the chart: %w", err)
	}
	files, err := engine.Render(chart, values)
	if err != nil {
		return nil, fmt.Errorf("render the chart: %w", err)
	}
	objects := []client.Object{&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: ControllerNamespace}}}
	names := make([]string, 0, len(files))
	for name := range files {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		if !strings.HasSuffix(name, ".yaml") {
			continue
		}
		rendered, err := decodeObjects(strings.NewReader(files[name]))
		if err != nil {
			return nil, fmt.Errorf("%s as rendered: %w", name, err)
		}
		for _, o := range rendered {
			objects = append(objects, o)
		}
	}
	return objects, nil
}
