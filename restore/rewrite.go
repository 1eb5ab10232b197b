package restore

import (
	"encoding/base64"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// hostLike matches what may be a DNS name inside a longer text, or the end of one: a
// certificate is for *.cht.svc, and a proxy is not asked for .cht.svc.
var hostLike = regexp.MustCompile(`[A-Za-z0-9.][A-Za-z0-9.-]*`)

// rewriter changes the namespace wherever a CHT object may carry it.
type rewriter struct {
	from, to string
	services map[string]bool // the instance's Service names
}

func newRewriter(from, to string, objects []*unstructured.Unstructured) rewriter {
	r := rewriter{from: from, to: to, services: map[string]bool{}}
	for _, o := range objects {
		if o.GetKind() == "Service" {
			r.services[o.GetName()] = true
		}
	}
	return r
}

// text rewrites the DNS names in s: SERVICE.NAMESPACE.svc… of any service, and
// SERVICE.NAMESPACE of a service of the instance, in capitals too: resolvers do not
// tell them apart.
func (r rewriter) text(s string) string {
	return hostLike.ReplaceAllStringFunc(s, func(host string) string {
		labels, from := strings.Split(host, "."), strings.Split(r.from, ".") // that of a Compose project has two
		for i := 1; i+len(from) <= len(labels); i++ {
			end := i + len(from)
			short := end == len(labels) && i == 1 && r.services[strings.ToLower(labels[0])]
			full := end < len(labels) && strings.EqualFold(labels[end], "svc")
			if (short || full) && slices.EqualFunc(labels[i:end], from, strings.EqualFold) {
				labels = slices.Replace(labels, i, end, r.to)
			}
		}
		return strings.Join(labels, ".")
	})
}

// object gives o as it stands in the new namespace.
func (r rewriter) object(o *unstructured.Unstructured) *unstructured.Unstructured {
	o = o.DeepCopy()
	switch o.GetKind() {
	case "Secret":
		r.encoded(o, "data")
	case "ConfigMap":
		r.encoded(o, "binaryData")
	}
	o.Object, _ = r.value("", o.Object).(map[string]any)
	o.SetNamespace(r.to)
	if o.GetKind() == "RoleBinding" {
		subjects, _, _ := unstructured.NestedSlice(o.Object, "subjects")
		for _, s := range subjects {
			if subject, ok := s.(map[string]any); ok && subject["namespace"] == r.from {
				subject["namespace"] = r.to
			}
		}
		if subjects != nil {
			_ = unstructured.SetNestedSlice(o.Object, subjects, "subjects")
		}
	}
	return o
}

// value walks any JSON value. Environment variables whose name says that they
// hold a namespace, and Helm's note of the release's namespace, hold it bare.
func (r rewriter) value(key string, v any) any {
	switch v := v.(type) {
	case string:
		if v == r.from && key == "meta.helm.sh/release-namespace" {
			return r.to
		}
		return r.text(v)
	case []any:
		for i := range v {
			v[i] = r.value("", v[i])
		}
	case map[string]any:
		if name, ok := v["name"].(string); ok && v["value"] == r.from && strings.Contains(strings.ToUpper(name), "NAMESPACE") {
			v["value"] = r.to
		}
		for k := range v {
			v[k] = r.value(k, v[k])
		}
	}
	return v
}

// encoded rewrites the texts in a field whose values are base64. What is not text stays.
func (r rewriter) encoded(o *unstructured.Unstructured, field string) {
	data, _, _ := unstructured.NestedMap(o.Object, field)
	for k, v := range data {
		encoded, _ := v.(string)
		raw, err := base64.StdEncoding.DecodeString(encoded)
		if err != nil || !utf8.Valid(raw) {
			continue
		}
		data[k] = base64.StdEncoding.EncodeToString([]byte(r.text(string(raw))))
	}
	if data != nil {
		_ = unstructured.SetNestedMap(o.Object, data, field)
	}
}

// erlangName gives a CouchDB node's name in the new namespace. The one-node name
// couchdb@127.0.0.1 is the same everywhere.
func (r rewriter) erlangName(old string) string {
	at := strings.LastIndex(old, "@")
	return old[:at+1] + r.text(old[at+1:])
}
