package bucket

import (
	"encoding/json"
	"fmt"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/medic/cht-backup/snapshot/catalog"
)

// placeholder stands where a sealed value was.
const placeholder = "sealed-by-cht-backup"

// Into gives the record with what was kept apart from it back in its places.
func (s Secrets) Into(r catalog.Record) (catalog.Record, error) {
	if s.UID != r.UID {
		return r, fmt.Errorf("the secrets are those of backup %q, the record is of %q", s.UID, r.UID)
	}
	values := map[[3]string][]Value{}
	for _, v := range s.Values {
		key := [3]string{v.APIVersion, v.Kind, v.Name}
		values[key] = append(values[key], v)
	}
	var objects []json.RawMessage
	for i, raw := range r.Objects {
		o := &unstructured.Unstructured{}
		if err := o.UnmarshalJSON(raw); err != nil {
			return r, fmt.Errorf("object %d: %w", i, err)
		}
		key := [3]string{o.GetAPIVersion(), o.GetKind(), o.GetName()}
		own := values[key]
		if len(own) == 0 {
			objects = append(objects, raw)
			continue
		}
		delete(values, key)
		for _, v := range own {
			if err := put(o.Object, v.Path, v.Text); err != nil {
				return r, fmt.Errorf("%s %s: %w", o.GetKind(), o.GetName(), err)
			}
		}
		filled, err := o.MarshalJSON()
		if err != nil {
			return r, fmt.Errorf("encode %s %s: %w", o.GetKind(), o.GetName(), err)
		}
		objects = append(objects, filled)
	}
	for key := range values {
		return r, fmt.Errorf("a sealed value belongs to %s %s, which the record does not have", key[1], key[2])
	}
	r.Objects = append(objects, s.Objects...)
	if len(s.Release) > 0 && r.Release != nil {
		full := *r.Release
		full.Values = s.Release
		r.Release = &full
	}
	return r, r.Check()
}

// Placeholders tells which objects of a record still lack values that were sealed
// or left out, as KIND/NAME.
func Placeholders(r catalog.Record) []string {
	var lacking []string
	for _, raw := range r.Objects {
		if !strings.Contains(string(raw), placeholder) {
			continue
		}
		if o, err := catalog.CheckObject(raw, r.Namespace); err == nil {
			lacking = append(lacking, o.Kind+"/"+o.Metadata.Name)
		}
	}
	return lacking
}

// put replaces the placeholder at a place of an object, and nothing else.
func put(object map[string]any, pointer, text string) error {
	elements := strings.Split(pointer, "/")
	if len(elements) < 2 || elements[0] != "" {
		return fmt.Errorf("%q is no place in it", clip(pointer))
	}
	var at any = object
	for i, element := range elements[1:] {
		last := i == len(elements)-2
		switch in := at.(type) {
		case map[string]any:
			name := unescape.Replace(element)
			if last {
				if in[name] != placeholder {
					return fmt.Errorf("at %q nothing was sealed", clip(pointer))
				}
				in[name] = text
				return nil
			}
			at = in[name]
		case []any:
			n, ok := index(element, len(in))
			if !ok {
				return fmt.Errorf("%q is no place in it", clip(pointer))
			}
			if last {
				if in[n] != placeholder {
					return fmt.Errorf("at %q nothing was sealed", clip(pointer))
				}
				in[n] = text
				return nil
			}
			at = in[n]
		default:
			return fmt.Errorf("%q is no place in it", clip(pointer))
		}
	}
	return nil
}

var (
	escape   = strings.NewReplacer("~", "~0", "/", "~1")
	unescape = strings.NewReplacer("~1", "/", "~0", "~")
)

// index reads a place in a list of n.
func index(s string, n int) (int, bool) {
	i := 0
	for _, c := range s {
		if c < '0' || c > '9' || i > n {
			return 0, false
		}
		i = 10*i + int(c-'0')
	}
	return i, s != "" && i < n
}
