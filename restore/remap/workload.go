package remap

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/medic/cht-backup/snapshot/cht"
)

// workload changes a Deployment's or StatefulSet's replicas, images and places.
func (c *change) workload(o *unstructured.Unstructured) {
	if n, ok := Replicas(&c.remap, component(o)); ok {
		_ = unstructured.SetNestedField(o.Object, n, "spec", "replicas")
		c.changed(o, "%d replicas", n)
	}
	pod, found, _ := unstructured.NestedMap(o.Object, "spec", "template", "spec")
	if !found {
		pod = map[string]any{}
	}
	c.pull(o, pod)
	c.place(o, pod)
	c.tolerate(o, pod)
	if found || len(pod) > 0 {
		_ = unstructured.SetNestedMap(o.Object, pod, "spec", "template", "spec")
	}
}

// place says on which nodes the pods may run.
func (c *change) place(o *unstructured.Unstructured, pod map[string]any) {
	was, _, _ := unstructured.NestedStringMap(pod, "nodeSelector")
	selector := maps.Clone(was)
	if given := c.remap.NodeSelector; given != nil {
		selector = map[string]string{}
		for k, v := range *given {
			selector[k] = string(v)
		}
		// It says the same as a selector, in another way: left, it would still hold
		// the pods to nodes of the source cluster.
		if _, found, _ := unstructured.NestedMap(pod, "affinity", "nodeAffinity"); found {
			unstructured.RemoveNestedField(pod, "affinity", "nodeAffinity")
			c.warn("the nodeAffinity of %s %s goes with its nodeSelector", o.GetKind(), o.GetName())
		}
	}
	if zone := c.remap.Zone; zone != "" && cht.IsCouchDB(component(o)) {
		if selector == nil {
			selector = map[string]string{}
		}
		// A node's name is the source cluster's, and names one zone: kept, it would
		// contradict the zone that is asked for.
		if host := selector[corev1.LabelHostname]; host != "" && c.remap.NodeSelector == nil {
			delete(selector, corev1.LabelHostname)
			c.warn("%s %s was pinned to node %s (%s); it may run on any node of zone %s", o.GetKind(), o.GetName(), host, corev1.LabelHostname, zone)
		}
		selector[corev1.LabelTopologyZone] = zone
	}
	if maps.Equal(was, selector) {
		return
	}
	if len(selector) == 0 {
		unstructured.RemoveNestedField(pod, "nodeSelector")
	} else {
		_ = unstructured.SetNestedStringMap(pod, selector, "nodeSelector")
	}
	c.changed(o, "node selector %s", pairs(selector))
}

func pairs(m map[string]string) string {
	var all []string
	for _, k := range slices.Sorted(maps.Keys(m)) {
		all = append(all, k+"="+m[k])
	}
	return list(all)
}

// tolerate says which taints of nodes the pods bear.
func (c *change) tolerate(o *unstructured.Unstructured, pod map[string]any) {
	given := c.remap.Tolerations
	if given == nil {
		return
	}
	_, had, _ := unstructured.NestedSlice(pod, "tolerations")
	unstructured.RemoveNestedField(pod, "tolerations")
	var all []any
	var texts []string
	for i := range *given {
		one, err := runtime.DefaultUnstructuredConverter.ToUnstructured(&(*given)[i])
		if err != nil {
			continue // a struct of strings and a number always converts
		}
		all = append(all, one)
		texts = append(texts, tolerationText((*given)[i]))
	}
	if len(all) > 0 {
		_ = unstructured.SetNestedSlice(pod, all, "tolerations")
	}
	if had || len(all) > 0 {
		c.changed(o, "tolerations %s", list(texts))
	}
}

func tolerationText(t corev1.Toleration) string {
	text := t.Key
	if text == "" {
		text = "all"
	}
	if t.Value != "" {
		text += "=" + t.Value
	}
	if t.Effect != "" {
		text += ":" + string(t.Effect)
	}
	return text
}

// pull changes where images come from.
func (c *change) pull(o *unstructured.Unstructured, pod map[string]any) {
	for _, kind := range []string{"initContainers", "containers"} {
		containers, found, _ := unstructured.NestedSlice(pod, kind)
		if !found {
			continue
		}
		for _, one := range containers {
			container, ok := one.(map[string]any)
			if !ok {
				continue
			}
			image, _ := container["image"].(string)
			c.images = append(c.images, image)
			if fresh := c.image(image); fresh != image {
				container["image"] = fresh
				c.changed(o, "%s from %s", image, fresh)
			}
		}
		_ = unstructured.SetNestedSlice(pod, containers, kind)
	}
}

// image gives an image's name after the entry that fits most of it.
func (c *change) image(name string) string {
	best, length, fresh := -1, -1, name
	for i, entry := range c.remap.Images {
		from, to := strings.TrimRight(entry.From, "/"), strings.TrimRight(entry.To, "/")
		rest, ok := below(name, from)
		if !ok {
			rest, ok = below(fullName(name), from)
		}
		if ok && len(from) > length {
			best, length, fresh = i, len(from), to+rest
		}
	}
	if best >= 0 {
		c.used[best] = true
	}
	return fresh
}

// below tells whether an image's name begins with whole path elements, and what
// follows them.
func below(name, prefix string) (rest string, ok bool) {
	rest, ok = strings.CutPrefix(name, prefix)
	if !ok || rest == "" {
		return rest, ok
	}
	// A colon ends the last path element, before a tag; elsewhere it is a
	// registry's port.
	tag := rest[0] == ':' && strings.Contains(prefix, "/")
	return rest, rest[0] == '/' || rest[0] == '@' || tag || rest[0] == ':' && !strings.Contains(rest, "/")
}

// fullName adds what a short image name leaves out.
func fullName(name string) string {
	first, _, found := strings.Cut(name, "/")
	switch {
	case !found:
		return "docker.io/library/" + name
	case !strings.ContainsAny(first, ".:") && first != "localhost":
		return fmt.Sprintf("docker.io/%s", name)
	}
	return name
}
