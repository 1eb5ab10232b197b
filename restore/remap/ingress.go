package remap

import (
	"encoding/base64"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"unicode/utf8"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// OldClassAnnotation named an ingress' class before spec.ingressClassName did. An
// object may not have both.
const OldClassAnnotation = "kubernetes.io/ingress.class"

// Hosts are those that the ingresses among objects serve, in order, each once.
func Hosts(objects []*unstructured.Unstructured) []string {
	var hosts []string
	for _, o := range objects {
		if o.GetKind() != "Ingress" {
			continue
		}
		rules, _, _ := unstructured.NestedSlice(o.Object, "spec", "rules")
		for _, rule := range rules {
			if m, ok := rule.(map[string]any); ok {
				if host, _ := m["host"].(string); host != "" && !slices.Contains(hosts, host) {
					hosts = append(hosts, host)
				}
			}
		}
	}
	return hosts
}

// ingress changes an ingress' host and class.
func (c *change) ingress(o *unstructured.Unstructured) {
	given := c.remap.Ingress
	if given == nil {
		return
	}
	if given.Host != "" {
		c.host(o, given.Host)
	}
	if given.ClassName == "" {
		return
	}
	a := o.GetAnnotations()
	if was, old := a[OldClassAnnotation]; old {
		// Whoever reads the annotation may not read the field.
		if was != given.ClassName {
			a[OldClassAnnotation] = given.ClassName
			o.SetAnnotations(a)
			c.changed(o, "class %s (annotation)", given.ClassName)
		}
		return
	}
	if was, _, _ := unstructured.NestedString(o.Object, "spec", "ingressClassName"); was != given.ClassName {
		_ = unstructured.SetNestedField(o.Object, given.ClassName, "spec", "ingressClassName")
		c.changed(o, "class %s", given.ClassName)
	}
}

// host puts one host in the place of all. Rules that are the same then are one.
func (c *change) host(o *unstructured.Unstructured, host string) {
	old := Hosts([]*unstructured.Unstructured{o})
	rules, _, _ := unstructured.NestedSlice(o.Object, "spec", "rules")
	if len(rules) == 0 {
		c.unmatched("ingress: Ingress %s has no rules that could have a host", o.GetName())
		return
	}
	var kept []any
	for _, rule := range rules {
		if m, ok := rule.(map[string]any); ok {
			m["host"] = host
		}
		if !slices.ContainsFunc(kept, func(k any) bool { return reflect.DeepEqual(k, rule) }) {
			kept = append(kept, rule)
		}
	}
	_ = unstructured.SetNestedSlice(o.Object, kept, "spec", "rules")
	c.changed(o, "host %s in the place of %s", host, list(old))
	if len(old) > 1 {
		c.warn("Ingress %s served %s; all of them become %s", o.GetName(), list(old), host)
	}
	tls, found, _ := unstructured.NestedSlice(o.Object, "spec", "tls")
	for _, one := range tls {
		m, ok := one.(map[string]any)
		if !ok {
			continue
		}
		if hosts, _ := m["hosts"].([]any); len(hosts) > 0 {
			m["hosts"] = []any{host}
		}
		if secret, _ := m["secretName"].(string); secret != "" && !slices.Equal(old, []string{host}) {
			c.warn("Ingress %s keeps its TLS Secret %s, whose certificate may not be for %s", o.GetName(), secret, host)
		}
	}
	if found {
		_ = unstructured.SetNestedSlice(o.Object, tls, "spec", "tls")
	}
}

// elsewhere puts the new host in the place of the old where that stands exactly:
// in a public URL in an environment, in an annotation for DNS.
func (c *change) elsewhere(o *unstructured.Unstructured) {
	if c.remap.Ingress == nil || c.remap.Ingress.Host == "" || len(c.hosts) == 0 {
		return
	}
	for _, field := range []string{"spec", "data", "stringData"} {
		if v, ok := o.Object[field]; ok && (field != "data" || o.GetKind() != "Secret") {
			o.Object[field] = c.replaced(o, field, v)
		}
	}
	if data, ok := o.Object["data"].(map[string]any); ok && o.GetKind() == "Secret" {
		for _, k := range slices.Sorted(maps.Keys(data)) {
			encoded, _ := data[k].(string)
			if raw, err := base64.StdEncoding.DecodeString(encoded); err == nil && utf8.Valid(raw) {
				if text := c.text(o, "data."+k, string(raw)); text != string(raw) {
					data[k] = base64.StdEncoding.EncodeToString([]byte(text))
				}
			}
		}
	}
	if a := o.GetAnnotations(); a != nil {
		for _, k := range slices.Sorted(maps.Keys(a)) {
			a[k] = c.text(o, "annotation "+k, a[k])
		}
		o.SetAnnotations(a)
	}
}

func (c *change) replaced(o *unstructured.Unstructured, path string, v any) any {
	switch v := v.(type) {
	case string:
		return c.text(o, path, v)
	case []any:
		for i := range v {
			at := fmt.Sprint(i)
			if m, ok := v[i].(map[string]any); ok {
				if name, ok := m["name"].(string); ok {
					at = name
				}
			}
			v[i] = c.replaced(o, path+"["+at+"]", v[i])
		}
	case map[string]any:
		for _, k := range slices.Sorted(maps.Keys(v)) {
			v[k] = c.replaced(o, path+"."+k, v[k])
		}
	}
	return v
}

// text replaces the old hosts in s, and names the place.
func (c *change) text(o *unstructured.Unstructured, path, s string) string {
	for _, old := range c.hosts {
		if fresh := replaceHost(s, old, c.remap.Ingress.Host); fresh != s {
			s = fresh
			c.warn("%s %s: %s names the backup's host %s, which becomes %s there too", o.GetKind(), o.GetName(), path, old, c.remap.Ingress.Host)
		}
	}
	return s
}

// replaceHost replaces old where it is a whole host name, and not the domain of a
// mail address.
func replaceHost(s, old, fresh string) string {
	var out strings.Builder
	for {
		i := strings.Index(s, old)
		if i < 0 {
			return out.String() + s
		}
		end := i + len(old)
		before := i == 0 || !hostByte(s[i-1]) && s[i-1] != '@' && s[i-1] != '.'
		after := end == len(s) || !hostByte(s[end]) && (s[end] != '.' || end+1 == len(s) || !hostByte(s[end+1]))
		out.WriteString(s[:i])
		if before && after {
			out.WriteString(fresh)
		} else {
			out.WriteString(old)
		}
		s = s[end:]
	}
}

func hostByte(b byte) bool {
	return b == '-' || b == '_' || b >= '0' && b <= '9' || b >= 'a' && b <= 'z' || b >= 'A' && b <= 'Z'
}
