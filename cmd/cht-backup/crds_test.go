package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
)

const crdFolder = "../../charts/cht-backup/crds"

var crdNames = []string{"backups." + crdGroup, "backupschedules." + crdGroup, "restores." + crdGroup}

// apiServer is an API server that takes up whatever is written.
func apiServer(t *testing.T, funcs interceptor.Funcs, objects ...client.Object) client.WithWatch {
	t.Helper()
	scheme := runtime.NewScheme()
	if err := apiextensionsv1.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	c := fake.NewClientBuilder().WithScheme(scheme).WithObjects(objects...).WithStatusSubresource(&apiextensionsv1.CustomResourceDefinition{}).
		WithIndex(&apiextensionsv1.CustomResourceDefinition{}, "metadata.name", func(o client.Object) []string { return []string{o.GetName()} }).Build()
	up := func(ctx context.Context, c client.Client, name string, err error) error {
		if err != nil {
			return err
		}
		crd := &apiextensionsv1.CustomResourceDefinition{}
		if err := c.Get(ctx, client.ObjectKey{Name: name}, crd); err != nil {
			return err
		}
		crd.Status.Conditions = []apiextensionsv1.CustomResourceDefinitionCondition{{Type: apiextensionsv1.Established, Status: apiextensionsv1.ConditionTrue}}
		return c.Status().Update(ctx, crd)
	}
	if funcs.Create == nil {
		funcs.Create = func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.CreateOption) error {
			return up(ctx, c, o.GetName(), c.Create(ctx, o, opts...))
		}
	}
	if funcs.Apply == nil {
		funcs.Apply = func(ctx context.Context, c client.WithWatch, o runtime.ApplyConfiguration, opts ...client.ApplyOption) error {
			return c.Apply(ctx, o, opts...)
		}
	}
	return interceptor.NewClient(c, funcs)
}

// there is a definition as it was left, taken up or not.
func there(name, version string, change ...func(*apiextensionsv1.CustomResourceDefinition)) *apiextensionsv1.CustomResourceDefinition {
	crd := &apiextensionsv1.CustomResourceDefinition{ObjectMeta: metav1.ObjectMeta{Name: name}}
	if version != "" {
		crd.Annotations = map[string]string{crdVersion: version}
	}
	crd.Spec.Group = crdGroup
	crd.Spec.Versions = []apiextensionsv1.CustomResourceDefinitionVersion{{Name: "v1alpha1"}}
	crd.Status.Conditions = []apiextensionsv1.CustomResourceDefinitionCondition{{Type: apiextensionsv1.Established, Status: apiextensionsv1.ConditionTrue}}
	for _, f := range change {
		f(crd)
	}
	return crd
}

func TestApplyCRDs(t *testing.T) {
	for name, tt := range map[string]struct {
		there, given string // "-": none is there
		says, after  string
		kinds        bool // the definition is the one given, not the one that was there
	}{
		"first":                  {"-", "0.2.0", "created, version 0.2.0", "0.2.0", true},
		"by Helm, with no word":  {"", "0.2.0", "brought up to version 0.2.0", "0.2.0", true},
		"newer":                  {"0.1.0", "0.2.0", "from version 0.1.0 to 0.2.0", "0.2.0", true},
		"ten is more than nine":  {"0.9.0", "0.10.0", "from version 0.9.0 to 0.10.0", "0.10.0", true},
		"the same":               {"0.2.0", "0.2.0", "version 0.2.0", "0.2.0", true},
		"older":                  {"0.3.0", "0.2.0", "version 0.3.0 is there, newer than 0.2.0, and stays", "0.3.0", false},
		"older by a pre-release": {"0.3.0", "0.3.0-rc.1", "stays", "0.3.0", false},
		"what nobody can read":   {"yesterday's", "0.2.0", "from version yesterday's to 0.2.0", "0.2.0", true},
	} {
		t.Run(name, func(t *testing.T) {
			var objects []client.Object
			if tt.there != "-" {
				for _, n := range crdNames {
					objects = append(objects, there(n, tt.there))
				}
			}
			c := apiServer(t, interceptor.Funcs{}, objects...)
			var said strings.Builder
			if err := applyCRDs(t.Context(), c, crdFolder, tt.given, &said); err != nil {
				t.Fatal(err)
			}
			if n := strings.Count(said.String(), tt.says); n != 3 {
				t.Errorf("said\n%s", said.String())
			}
			for _, n := range crdNames {
				var crd apiextensionsv1.CustomResourceDefinition
				if err := c.Get(t.Context(), client.ObjectKey{Name: n}, &crd); err != nil {
					t.Fatal(err)
				}
				if crd.Annotations[crdVersion] != tt.after || (crd.Spec.Names.Kind != "") != tt.kinds {
					t.Errorf("%s is %v of kind %q", n, crd.Annotations, crd.Spec.Names.Kind)
				}
			}
		})
	}
}

// While one release looks, another brings a newer one: what was seen no longer holds, and
// nothing may be written over it.
func TestApplyCRDsRace(t *testing.T) {
	raced := false
	c := apiServer(t, interceptor.Funcs{Apply: func(ctx context.Context, inner client.WithWatch, o runtime.ApplyConfiguration, opts ...client.ApplyOption) error {
		if !raced {
			raced = true
			var crd apiextensionsv1.CustomResourceDefinition
			if err := inner.Get(ctx, client.ObjectKey{Name: crdNames[0]}, &crd); err != nil {
				return err
			}
			crd.Annotations = map[string]string{crdVersion: "9.0.0"}
			if err := inner.Update(ctx, &crd); err != nil {
				return err
			}
		}
		return inner.Apply(ctx, o, opts...)
	}}, there(crdNames[0], "0.1.0"), there(crdNames[1], "0.1.0"), there(crdNames[2], "0.1.0"))
	var said strings.Builder
	if err := applyCRDs(t.Context(), c, crdFolder, "0.2.0", &said); err != nil {
		t.Fatal(err)
	}
	if !raced || !strings.Contains(said.String(), crdNames[0]+": version 9.0.0 is there, newer than 0.2.0, and stays") {
		t.Error(said.String())
	}
}

func TestApplyCRDsRefuses(t *testing.T) {
	foreign, broken := t.TempDir(), t.TempDir()
	for file, text := range map[string]string{
		filepath.Join(foreign, "a.yaml"): "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata: {name: pods.example.org}\n",
		filepath.Join(broken, "a.yaml"):  "a: [\n",
	} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	deleted := there(crdNames[0], "", func(c *apiextensionsv1.CustomResourceDefinition) {
		now := metav1.Now()
		c.DeletionTimestamp, c.Finalizers = &now, []string{"x"}
	})
	for name, tt := range map[string]struct {
		dir, version string
		there        []client.Object
		want         string
	}{
		"nothing there": {t.TempDir(), "0.1.0", nil, "there are no *.yaml"},
		"not a version": {crdFolder, "dev", nil, `"dev" is no version such as 1.2.3`},
		"not ours":      {foreign, "0.1.0", nil, "not a CustomResourceDefinition of " + crdGroup},
		"not YAML":      {broken, "0.1.0", nil, "a.yaml"},
		"being deleted": {crdFolder, "0.1.0", []client.Object{deleted}, "is being deleted"},
		"stored as what": {crdFolder, "0.1.0", []client.Object{there(crdNames[0], "", func(c *apiextensionsv1.CustomResourceDefinition) {
			c.Status.StoredVersions = []string{"v1alpha0", "v1alpha1"}
		})}, "stored as version v1alpha0,"},
	} {
		t.Run(name, func(t *testing.T) {
			err := applyCRDs(t.Context(), apiServer(t, interceptor.Funcs{}, tt.there...), tt.dir, tt.version, &strings.Builder{})
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v", err)
			}
		})
	}
}

// The wait is bounded, and says what it waited for.
func TestApplyCRDsNotServed(t *testing.T) {
	never := interceptor.Funcs{Create: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.CreateOption) error {
		return c.Create(ctx, o, opts...)
	}}
	ctx, cancel := context.WithTimeoutCause(t.Context(), 100*time.Millisecond, errors.New("the time is over"))
	defer cancel()
	err := applyCRDs(ctx, apiServer(t, never), crdFolder, "0.1.0", &strings.Builder{})
	if err == nil || !strings.Contains(err.Error(), "take it up") || !strings.Contains(err.Error(), "the time is over") {
		t.Errorf("got %v", err)
	}
}
