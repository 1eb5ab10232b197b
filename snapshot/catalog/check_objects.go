package catalog

import (
	"encoding/json"
	"fmt"
	"slices"

	"k8s.io/apimachinery/pkg/api/validation/path"
	"k8s.io/apimachinery/pkg/runtime/schema"
	kjson "sigs.k8s.io/json"

	"github.com/medic/cht-backup/snapshot/cht"
)

const (
	maxObjects = 20_000
	// maxObject is above what etcd takes, 1.5 MiB.
	maxObject = 4 << 20
)

// Identity is what an object says that it is.
type Identity struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	Metadata   struct {
		Namespace string `json:"namespace"`
		Name      string `json:"name"`
	} `json:"metadata"`
}

// Restored tells whether a restore applies objects of that kind. It passes over
// others.
func (o Identity) Restored() bool {
	return slices.Contains(cht.ObjectKinds, schema.FromAPIVersionAndKind(o.APIVersion, o.Kind))
}

// CheckObject refuses an object that a backup of namespace cannot hold, and tells
// which one it is.
func CheckObject(raw json.RawMessage, namespace string) (Identity, error) {
	var o Identity
	if len(raw) > maxObject {
		return o, fmt.Errorf("it has %d bytes, more than Kubernetes takes", len(raw))
	}
	// As the API server and client-go read it: "Kind" is not "kind".
	if err := kjson.UnmarshalCaseSensitivePreserveInts(raw, &o); err != nil {
		return o, fmt.Errorf("decode: %w", err)
	}
	if err := checkText("its kind", o.APIVersion+" "+o.Kind, 256); err != nil {
		return o, err
	}
	if errs := path.IsValidPathSegmentName(o.Metadata.Name); o.Metadata.Name == "" || len(o.Metadata.Name) > 253 || len(errs) > 0 || checkText("", o.Metadata.Name, 253) != nil {
		return o, fmt.Errorf("%s %q is no name", o.Kind, clip(o.Metadata.Name))
	}
	if ns := o.Metadata.Namespace; ns != "" && ns != namespace {
		return o, fmt.Errorf("%s %s is of namespace %q, the backup is of %s", o.Kind, o.Metadata.Name, clip(ns), namespace)
	}
	return o, nil
}

func (r Record) checkObjects() error {
	if len(r.Objects) > maxObjects {
		return fmt.Errorf("it has %d objects", len(r.Objects))
	}
	seen := make(map[[3]string]bool, len(r.Objects))
	for i, raw := range r.Objects {
		o, err := CheckObject(raw, r.Namespace)
		if err != nil {
			return fmt.Errorf("object %d: %w", i, err)
		}
		key := [3]string{o.APIVersion, o.Kind, o.Metadata.Name}
		if seen[key] {
			return fmt.Errorf("object %d: %s %s is there twice", i, o.Kind, o.Metadata.Name)
		}
		seen[key] = true
	}
	return nil
}

func (r Record) checkImages() error {
	if len(r.Images) > maxImages {
		return fmt.Errorf("it has %d images", len(r.Images))
	}
	for i, image := range r.Images {
		for what, text := range map[string]string{"component": image.Component, "container": image.Container, "image": image.Image, "id": image.ID} {
			if err := checkText(what, text, 1024); err != nil {
				return fmt.Errorf("image %d: %w", i, err)
			}
		}
	}
	if r.Release == nil {
		return nil
	}
	for what, text := range map[string]string{"name": r.Release.Name, "chart": r.Release.Chart, "version": r.Release.Version, "appVersion": r.Release.AppVersion} {
		if err := checkText(what, text, 256); err != nil {
			return fmt.Errorf("release: %w", err)
		}
	}
	return nil
}
