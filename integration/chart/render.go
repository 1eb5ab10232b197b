package chart

import (
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"

	"helm.sh/helm/v3/pkg/chart"
	"helm.sh/helm/v3/pkg/chart/loader"
	"helm.sh/helm/v3/pkg/chartutil"
	"helm.sh/helm/v3/pkg/engine"
	"helm.sh/helm/v3/pkg/release"
	"helm.sh/helm/v3/pkg/releaseutil"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/yaml"
	sigsyaml "sigs.k8s.io/yaml"
)

// Release is what a chart is rendered for.
type Release struct {
	Name, Namespace string
	// Upgrade renders as `helm upgrade` does, not as the first installation.
	Upgrade bool
	// APIs are group/version or group/version/kind that the cluster serves besides
	// those that Helm knows.
	APIs []string
	// Live are the objects that the cluster has, for the templates that look there.
	Live []*unstructured.Unstructured
}

// Rendered is what came of a chart.
type Rendered struct {
	// Objects in the order in which Helm makes them, without hooks.
	Objects []*unstructured.Unstructured
	// Hooks in the order of their weights.
	Hooks []*unstructured.Unstructured
	// CRDs of the chart and of its dependencies.
	CRDs []*unstructured.Unstructured
	// Files are the rendered templates by path, as they are.
	Files map[string]string
	// Notes are shown at the end of an installation.
	Notes string
}

// Find gives the object of a kind and name, hooks included; nil if there is none.
func (r *Rendered) Find(kind, name string) *unstructured.Unstructured {
	for _, all := range [][]*unstructured.Unstructured{r.Objects, r.Hooks} {
		for _, o := range all {
			if o.GetKind() == kind && o.GetName() == name {
				return o
			}
		}
	}
	return nil
}

// Values reads values as a values file has them.
func Values(text string) (map[string]any, error) {
	values := map[string]any{}
	if err := sigsyaml.Unmarshal([]byte(text), &values); err != nil {
		return nil, fmt.Errorf("read values: %w", err)
	}
	return values, nil
}

// Render renders the chart in a folder. Values that the chart's schema refuses are an
// error that says which and why.
func Render(folder string, values map[string]any, r Release) (*Rendered, error) {
	c, err := loader.Load(folder)
	if err != nil {
		return nil, fmt.Errorf("load the chart in %s: %w", folder, err)
	}
	return RenderChart(c, values, r)
}

// RenderChart is Render of a chart that has been loaded, whose metadata it may change.
func RenderChart(c *chart.Chart, values map[string]any, r Release) (*Rendered, error) {
	if err := chartutil.ProcessDependencies(c, values); err != nil {
		return nil, fmt.Errorf("dependencies of chart %s: %w", c.Name(), err)
	}
	capabilities := chartutil.DefaultCapabilities.Copy()
	capabilities.APIVersions = append(capabilities.APIVersions, r.APIs...)
	options := chartutil.ReleaseOptions{Name: r.Name, Namespace: r.Namespace, Revision: 1, IsInstall: !r.Upgrade, IsUpgrade: r.Upgrade}
	all, err := chartutil.ToRenderValues(c, values, options, capabilities)
	if err != nil {
		return nil, fmt.Errorf("values of chart %s: %w", c.Name(), err)
	}
	files, err := engine.RenderWithClientProvider(c, all, cluster(r.Live))
	if err != nil {
		return nil, fmt.Errorf("render chart %s: %w", c.Name(), err)
	}
	out := &Rendered{Files: map[string]string{}}
	manifests := map[string]string{}
	for name, text := range files {
		out.Files[name] = text
		switch {
		case path.Base(name) == "NOTES.txt":
			if name == path.Join(c.Name(), "templates/NOTES.txt") {
				out.Notes = text
			}
		default:
			manifests[name] = text
		}
	}
	hooks, sorted, err := releaseutil.SortManifests(manifests, capabilities.APIVersions, releaseutil.InstallOrder)
	if err != nil {
		return nil, fmt.Errorf("sort the objects of chart %s: %w", c.Name(), err)
	}
	for _, m := range sorted {
		if out.Objects, err = Decode(out.Objects, m.Name, m.Content); err != nil {
			return nil, err
		}
	}
	slices.SortStableFunc(hooks, func(a, b *release.Hook) int { return a.Weight - b.Weight })
	for _, h := range hooks {
		if out.Hooks, err = Decode(out.Hooks, h.Path, h.Manifest); err != nil {
			return nil, err
		}
	}
	for _, crd := range c.CRDObjects() {
		if out.CRDs, err = Decode(out.CRDs, crd.Filename, string(crd.File.Data)); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// Decode adds to objects those of a manifest, which is called name in errors.
func Decode(into []*unstructured.Unstructured, name, text string) ([]*unstructured.Unstructured, error) {
	for decoder := yaml.NewYAMLOrJSONDecoder(strings.NewReader(text), 4096); ; {
		o := &unstructured.Unstructured{}
		if err := decoder.Decode(o); errors.Is(err, io.EOF) {
			return into, nil
		} else if err != nil {
			return nil, fmt.Errorf("%s as rendered: %w", name, err)
		}
		if len(o.Object) > 0 {
			into = append(into, o)
		}
	}
}
