package restore

import (
	"encoding/base64"
	"encoding/json"
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/validation"
)

// FuzzRewrite: no name of the source's namespace is left anywhere in a restored object:
// a clone that has one reaches the source. Allowed are the keys of maps, which others refer
// to, and what is no text.
func FuzzRewrite(f *testing.F) {
	for _, text := range []string{"http://medic:p%40ss@haproxy.cht.svc.cluster.local:5984/medic", "couchdb@couchdb-1.cht.svc", "haproxy.cht:1", "HAProxy.CHT.SVC.cluster.local", "*.cht.svc.cluster.local,.cht.svc", "_http._tcp.api.cht.svc.",
		"a.cht.cht.svc b.svc.svc.svc", `{"url":"http:\/\/api.cht.svc"}`} {
		f.Add("cht", text, `{"a":["x.cht.svc",{"name":"N","value":"cht"}]}`)
	}
	f.Add("svc", "b.svc.svc.svc", "[]")
	f.Add("medic.compose", "haproxy.medic.compose.svc", "{}")
	all := []*unstructured.Unstructured{}
	for _, name := range []string{"couchdb-1", "haproxy", "api"} {
		all = append(all, &unstructured.Unstructured{Object: map[string]any{"kind": "Service", "metadata": map[string]any{"name": name}}})
	}
	f.Fuzz(func(t *testing.T, from, text, tree string) {
		const to = "a-clone"
		if len(validation.IsDNS1123Label(strings.TrimSuffix(from, ".compose"))) > 0 || from == to || !utf8.ValidString(text) {
			return
		}
		var spec any
		if json.Unmarshal([]byte(tree), &spec) != nil || !utf8.ValidString(tree) {
			spec = nil
		}
		for _, kind := range []string{"Secret", "ConfigMap", "Deployment"} {
			data := map[string]any{"k": text}
			if kind == "Secret" {
				data = map[string]any{"k": base64.StdEncoding.EncodeToString([]byte(text))}
			}
			o := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "v1", "kind": kind, "data": data, "spec": spec, "stringData": map[string]any{"s": text},
				"binaryData": map[string]any{"b": base64.StdEncoding.EncodeToString([]byte(text))},
				"metadata":   map[string]any{"name": "n", "namespace": from, "annotations": map[string]any{"a": text}}}}
			got := newRewriter(from, to, all).object(o)
			if got.GetNamespace() != to {
				t.Fatalf("namespace %q", got.GetNamespace())
			}
			full := regexp.MustCompile(`\.` + regexp.QuoteMeta(from) + `\.svc([^a-z0-9-]|$)`)
			for _, s := range append(texts(got.Object), decoded(got)...) {
				if full.MatchString(lower(s)) {
					t.Fatalf("%s: %q survives of %q", kind, s, text)
				}
			}
			again := newRewriter(from, to, all).object(got)
			if a, b := asJSON(t, again), asJSON(t, got); a != b {
				t.Fatalf("rewritten twice:\n%s\n%s", a, b)
			}
		}
	})
}

func asJSON(t *testing.T, o *unstructured.Unstructured) string {
	t.Helper()
	raw, err := json.Marshal(o.Object)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

// texts are all strings of a JSON value.
func texts(v any) (all []string) {
	switch v := v.(type) {
	case string:
		all = append(all, v)
	case []any:
		for _, item := range v {
			all = append(all, texts(item)...)
		}
	case map[string]any:
		for _, item := range v {
			all = append(all, texts(item)...)
		}
	}
	return all
}

// decoded are the texts that an object has in base64, by its kind.
func decoded(o *unstructured.Unstructured) (all []string) {
	data, _, _ := unstructured.NestedStringMap(o.Object, map[string]string{"Secret": "data", "ConfigMap": "binaryData"}[o.GetKind()])
	for _, v := range data {
		if raw, err := base64.StdEncoding.DecodeString(v); err == nil {
			all = append(all, string(raw))
		}
	}
	return all
}

// lower is for names, which are ASCII: other letters have capitals that are none to DNS.
func lower(s string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'A' && r <= 'Z' {
			return r + 'a' - 'A'
		}
		return r
	}, s)
}
