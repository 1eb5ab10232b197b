package bucket

import (
	"encoding/base64"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/medic/cht-backup/snapshot/catalog"
)

// split parts a record into what may lie open and what may not: the Secrets as a
// whole, the values of the Helm release, and in other objects what looks like a
// credential. held tells what was taken out, without values.
func split(r catalog.Record) (open catalog.Record, kept Secrets, held []Held, err error) {
	kept = Secrets{Format: sealedFormat, UID: r.UID}
	open = r
	open.Objects = nil
	var others []*unstructured.Unstructured
	var words known
	for i, raw := range r.Objects {
		o := &unstructured.Unstructured{}
		if err := o.UnmarshalJSON(raw); err != nil {
			return open, kept, nil, fmt.Errorf("object %d: %w", i, err)
		}
		if o.GetKind() != "Secret" {
			others = append(others, o)
			continue
		}
		kept.Objects = append(kept.Objects, raw)
		held = append(held, Held{Kind: "Secret", Name: o.GetName(), Keys: words.learn(o)})
	}
	for _, o := range others { // what one names by its name may stand elsewhere without
		walk(o.Object, "", func(path, name, text string) (string, bool) {
			if strings.HasSuffix(path, "/value") && words.secret(o.GetKind(), path, name, text) {
				words.add(name, text)
			}
			return "", false
		})
	}
	for _, o := range others {
		values := words.take(o)
		if len(values) > 0 {
			h := Held{Kind: o.GetKind(), Name: o.GetName()}
			for _, v := range values {
				h.Keys = append(h.Keys, v.Path)
			}
			held, kept.Values = append(held, h), append(kept.Values, values...)
		}
		raw, err := o.MarshalJSON()
		if err != nil {
			return open, kept, nil, fmt.Errorf("encode %s %s: %w", o.GetKind(), o.GetName(), err)
		}
		open.Objects = append(open.Objects, raw)
	}
	if r.Release != nil && len(r.Release.Values) > 0 {
		kept.Release = r.Release.Values
		bare := *r.Release
		bare.Values = nil
		open.Release = &bare
		held = append(held, Held{Kind: "HelmRelease", Name: bare.Name, Keys: []string{"values"}})
	}
	return open, kept, held, nil
}

// learn notes the values of a Secret and gives its keys.
func (k *known) learn(secret *unstructured.Unstructured) (keys []string) {
	data, _, _ := unstructured.NestedMap(secret.Object, "data")
	for key, value := range data {
		keys = append(keys, key)
		text, _ := value.(string)
		if plain, err := base64.StdEncoding.DecodeString(text); err == nil {
			k.add(key, string(plain))
		}
	}
	plain, _, _ := unstructured.NestedMap(secret.Object, "stringData")
	for key, value := range plain {
		keys = append(keys, key)
		text, _ := value.(string)
		k.add(key, text)
	}
	slices.Sort(keys)
	return slices.Compact(keys)
}

// take replaces what looks like a credential in an object, and gives it.
func (k known) take(o *unstructured.Unstructured) []Value {
	var taken []Value
	walk(o.Object, "", func(path, name string, text string) (string, bool) {
		if !k.secret(o.GetKind(), path, name, text) {
			return "", false
		}
		taken = append(taken, Value{APIVersion: o.GetAPIVersion(), Kind: o.GetKind(), Name: o.GetName(), Path: path, Text: text})
		return placeholder, true
	})
	slices.SortFunc(taken, func(a, b Value) int {
		if a.Path < b.Path {
			return -1
		}
		return 1
	})
	return taken
}

// walk goes through all texts of an object. name is the key a text stands under, or
// for the value of {name: …, value: …} that name.
func walk(at any, path string, each func(path, name, text string) (string, bool)) {
	visit := func(child any, path, name string, set func(string)) {
		text, is := child.(string)
		if !is {
			walk(child, path, each)
			return
		}
		if other, yes := each(path, name, text); yes {
			set(other)
		}
	}
	switch in := at.(type) {
	case map[string]any:
		named, _ := in["name"].(string)
		for key, child := range in {
			name := key
			if key == "value" && named != "" {
				name = named
			}
			visit(child, path+"/"+escape.Replace(key), name, func(s string) { in[key] = s })
		}
	case []any:
		for i, child := range in {
			visit(child, path+"/"+strconv.Itoa(i), "", func(s string) { in[i] = s })
		}
	}
}
