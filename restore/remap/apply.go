package remap

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/snapshot/cht"
)

// Result is what became of the objects.
type Result struct {
	// Objects in the order they came in.
	Objects []*unstructured.Unstructured
	// Changes tell what is different, object by object.
	Changes []Change
	// Warnings are changes that nobody asked for in so many words.
	Warnings []string
	// Unmatched tells what the Remap names and the backup does not have: a typo
	// must not pass silently.
	Unmatched []string
}

// Change is one change to one object.
type Change struct {
	Kind, Name, Text string
}

// Of tells the changes to one object.
func (r Result) Of(o *unstructured.Unstructured) []string {
	var texts []string
	for _, c := range r.Changes {
		if c.Kind == o.GetKind() && c.Name == o.GetName() {
			texts = append(texts, c.Text)
		}
	}
	return texts
}

// change is a Remap under way.
type change struct {
	remap api.Remap
	out   Result
	// hosts are those of the backup's ingresses.
	hosts []string
	// images of the workloads, and which entries of the Remap changed any.
	images []string
	used   map[int]bool
}

// Apply gives the objects as the Remap wants them. What comes in is not changed.
func Apply(remap *api.Remap, objects []*unstructured.Unstructured) Result {
	if remap == nil {
		return Result{Objects: objects}
	}
	c := &change{remap: *remap, used: map[int]bool{}, hosts: Hosts(objects)}
	components := map[string]bool{}
	ingresses := 0
	for _, o := range objects {
		o = o.DeepCopy()
		c.label(o)
		switch {
		case isWorkload(o):
			components[component(o)] = true
			c.workload(o)
		case o.GetKind() == "Ingress":
			ingresses++
			c.ingress(o)
		}
		c.elsewhere(o)
		c.out.Objects = append(c.out.Objects, o)
	}
	for _, name := range slices.Sorted(maps.Keys(remap.Replicas)) {
		if !components[name] {
			c.unmatched("replicas: the backup has no component %q; it has %s", name, list(slices.Sorted(maps.Keys(components))))
		}
	}
	for i, image := range remap.Images {
		if !c.used[i] {
			c.unmatched("images: no image of the backup lies under %q, or another entry fits all of them better; the backup has %s", image.From, list(c.images))
		}
	}
	if remap.Ingress != nil && ingresses == 0 {
		c.unmatched("ingress: the backup has no Ingress to change")
	}
	return c.out
}

func (c *change) changed(o *unstructured.Unstructured, format string, args ...any) {
	c.out.Changes = append(c.out.Changes, Change{o.GetKind(), o.GetName(), fmt.Sprintf(format, args...)})
}

func (c *change) warn(format string, args ...any) {
	c.out.Warnings = append(c.out.Warnings, fmt.Sprintf(format, args...))
}

func (c *change) unmatched(format string, args ...any) {
	c.out.Unmatched = append(c.out.Unmatched, fmt.Sprintf(format, args...))
}

// label marks an object, but never a pod template or a selector: what a workload
// selects by must stay what its pods carry.
func (c *change) label(o *unstructured.Unstructured) {
	if len(c.remap.Labels) == 0 {
		return
	}
	o.SetLabels(Labels(&c.remap, o.GetLabels()))
}

// Labels adds those of the Remap to an object's own.
func Labels(remap *api.Remap, own map[string]string) map[string]string {
	all := maps.Clone(own)
	if all == nil {
		all = map[string]string{}
	}
	if remap != nil {
		for k, v := range remap.Labels {
			all[k] = string(v)
		}
	}
	return all
}

// Claim is what a claim is made with.
type Claim struct {
	// StorageClass is "" for the cluster's default.
	StorageClass string
	Bytes        int64
}

// Remapped gives size and class of a claim, where c are the backup's.
func (c Claim) Remapped(remap *api.Remap) Claim {
	if remap != nil && remap.StorageClassName != "" {
		c.StorageClass = remap.StorageClassName
	}
	if remap != nil && remap.ClaimSize != nil {
		c.Bytes = remap.ClaimSize.Value()
	}
	return c
}

// Replicas of a component, if the Remap names it.
func Replicas(remap *api.Remap, component string) (int64, bool) {
	if remap == nil {
		return 0, false
	}
	n, ok := remap.Replicas[component]
	return int64(n), ok
}

func isWorkload(o *unstructured.Unstructured) bool {
	return o.GetKind() == "Deployment" || o.GetKind() == "StatefulSet"
}

func component(o *unstructured.Unstructured) string {
	service, _, _ := unstructured.NestedString(o.Object, "spec", "template", "metadata", "labels", cht.ServiceLabel)
	return service
}

func list(names []string) string {
	names = slices.DeleteFunc(slices.Compact(slices.Sorted(slices.Values(names))), func(s string) bool { return s == "" })
	if len(names) == 0 {
		return "none"
	}
	return strings.Join(names, ", ")
}
