package move

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"path"
	"strings"

	"helm.sh/helm/v3/pkg/chart"
	"helm.sh/helm/v3/pkg/chart/loader"
	"helm.sh/helm/v3/pkg/chartutil"
	"helm.sh/helm/v3/pkg/engine"
	"helm.sh/helm/v3/pkg/releaseutil"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"github.com/medic/cht-backup/charts"
	"github.com/medic/cht-backup/snapshot/cht"
)

// Release is the name of the Helm release that takes the objects over.
const Release = "cht"

// load gives charts/cht without the controller.
func load() (*chart.Chart, error) {
	var files []*loader.BufferedFile
	err := fs.WalkDir(charts.CHT, "cht", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		data, err := charts.CHT.ReadFile(name)
		files = append(files, &loader.BufferedFile{Name: strings.TrimPrefix(name, "cht/"), Data: data})
		return err
	})
	if err != nil {
		return nil, err
	}
	c, err := loader.LoadFiles(files)
	if err != nil {
		return nil, err
	}
	c.Metadata.Dependencies = nil
	return c, nil
}

// render gives the chart's objects that a restore applies, in a namespace, as Helm would
// have made them.
func render(namespace string, v map[string]any) ([]json.RawMessage, error) {
	c, err := load()
	if err != nil {
		return nil, fmt.Errorf("load charts/cht: %w", err)
	}
	options := chartutil.ReleaseOptions{Name: Release, Namespace: namespace, Revision: 1, IsInstall: true}
	all, err := chartutil.ToRenderValues(c, v, options, chartutil.DefaultCapabilities)
	if err != nil {
		return nil, fmt.Errorf("values of charts/cht: %w", err)
	}
	files, err := engine.Render(c, all)
	if err != nil {
		return nil, err // it names the value and the next step
	}
	for name := range files {
		if path.Base(name) == "NOTES.txt" {
			delete(files, name)
		}
	}
	// Hooks look into a cluster, or are Helm's own matter.
	_, sorted, err := releaseutil.SortManifests(files, chartutil.DefaultVersionSet, releaseutil.InstallOrder)
	if err != nil {
		return nil, fmt.Errorf("the objects of charts/cht: %w", err)
	}
	var objects []json.RawMessage
	for _, m := range sorted {
		plain := map[string]any{}
		text, err := yaml.YAMLToJSON([]byte(m.Content))
		if err == nil {
			err = json.Unmarshal(text, &plain)
		}
		if err != nil {
			return nil, fmt.Errorf("%s of charts/cht: %w", m.Name, err)
		}
		own, is := cht.Own(&unstructured.Unstructured{Object: plain})
		if !is {
			continue
		}
		own.SetNamespace(namespace)
		raw, err := owned(own, namespace).MarshalJSON()
		if err != nil {
			return nil, err
		}
		objects = append(objects, raw)
	}
	return objects, nil
}

// owned marks an object as the release's, so that Helm takes it over.
func owned(o *unstructured.Unstructured, namespace string) *unstructured.Unstructured {
	a := o.GetAnnotations()
	if a == nil {
		a = map[string]string{}
	}
	a["meta.helm.sh/release-name"], a["meta.helm.sh/release-namespace"] = Release, namespace
	o.SetAnnotations(a)
	return o
}
