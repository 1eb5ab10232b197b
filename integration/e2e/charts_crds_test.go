package e2e

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/integration/harness"
)

// oldColumn is what the old definitions show and the new do not.
const oldColumn = "Old"

// TestCRDsUpgrade installs the controller's chart as it might have been, upgrades it, goes
// back and uninstalls it: definitions follow an upgrade, never go back, and stay with what is
// stored of them. It is not parallel: the definitions are everybody's.
func TestCRDsUpgrade(t *testing.T) {
	c := suite.Cluster(t)
	ctx := bounded(t, 4*time.Minute)
	// Whatever happens, the other tests have the definitions of the work tree.
	t.Cleanup(func() {
		if err := c.InstallCRDs(context.Background()); err != nil {
			t.Errorf("install the definitions again: %v", err)
		}
	})
	namespace := c.TempNamespace(t, "crds")
	h, release, chart := c.Helm(namespace), "cht-backup", c.ChartFolder("cht-backup")
	values := harness.Overlaid(c.ControllerValues(), map[string]any{"namespaces": []any{namespace}, "controller": map[string]any{"catalog": map[string]any{"url": "none"}}})
	before := backupsCRD(ctx, t, c)
	merge(ctx, t, c, theBackupsCRD(), `{"metadata":{"annotations":{"backup.communityhealthtoolkit.org/crd-version":null}}}`)

	old := oldChart(t, chart)
	if _, err := h.Install(ctx, release, old, values); err != nil {
		t.Fatal(err)
	}
	if crd := backupsCRD(ctx, t, c); !shows(crd, oldColumn) {
		t.Fatalf("the old chart's definition was not installed: %+v", crd.Annotations)
	}
	b, err := c.CreateBackup(ctx, namespace, "stays", api.BackupSpec{})
	if err == nil {
		b, err = c.WaitBackup(ctx, b, backupWithin, nil) // there is no CHT: it fails, and is there
	}
	if err != nil {
		t.Fatal(err)
	}

	if _, err := h.Upgrade(ctx, release, chart, values); err != nil {
		t.Fatal(err)
	}
	crd := backupsCRD(ctx, t, c)
	if shows(crd, oldColumn) || crd.UID != before.UID {
		t.Errorf("the upgrade left the old definition, or made another: %v, was %v", crd.UID, before.UID)
	}
	if _, err := h.Upgrade(ctx, release, old, values); err != nil {
		t.Fatal(err)
	}
	if shows(backupsCRD(ctx, t, c), oldColumn) {
		t.Error("an older chart took the definitions back: the API server would drop fields of what is stored")
	}

	if _, err := h.Uninstall(ctx, release); err != nil {
		t.Fatal(err)
	}
	if crd := backupsCRD(ctx, t, c); crd.UID != before.UID || crd.DeletionTimestamp != nil {
		t.Error("uninstalling took the definitions along")
	}
	var left api.Backup
	if err := c.Client.Get(ctx, client.ObjectKeyFromObject(b), &left); err != nil || left.UID != b.UID || left.DeletionTimestamp != nil {
		t.Errorf("uninstalling took the backups along: %+v, %v", left.ObjectMeta, err)
	}
	// Nobody serves this namespace any more, nor will soon: what holds the object is taken off.
	merge(ctx, t, c, left.DeepCopy(), `{"metadata":{"finalizers":null}}`)
}

func theBackupsCRD() *unstructured.Unstructured {
	u := &unstructured.Unstructured{}
	u.SetAPIVersion("apiextensions.k8s.io/v1")
	u.SetKind("CustomResourceDefinition")
	u.SetName("backups." + api.GroupVersion.Group)
	return u
}

func backupsCRD(ctx context.Context, t *testing.T, c *harness.Cluster) *apiextensionsv1.CustomResourceDefinition {
	t.Helper()
	u := theBackupsCRD()
	if err := c.Client.Get(ctx, client.ObjectKeyFromObject(u), u); err != nil {
		t.Fatal(err)
	}
	crd := &apiextensionsv1.CustomResourceDefinition{}
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(u.Object, crd); err != nil {
		t.Fatal(err)
	}
	return crd
}

func shows(crd *apiextensionsv1.CustomResourceDefinition, column string) bool {
	for _, one := range crd.Spec.Versions[0].AdditionalPrinterColumns {
		if one.Name == column {
			return true
		}
	}
	return false
}

// oldChart is a copy of the controller's chart under a lower version, whose Backups show
// one column more.
func oldChart(t *testing.T, folder string) string {
	t.Helper()
	old := t.TempDir()
	if err := os.CopyFS(old, os.DirFS(folder)); err != nil {
		t.Fatal(err)
	}
	change := func(file string, change func(map[string]any)) {
		t.Helper()
		text, err := os.ReadFile(filepath.Join(old, file))
		if err != nil {
			t.Fatal(err)
		}
		var content map[string]any
		if err := yaml.Unmarshal(text, &content); err != nil {
			t.Fatal(err)
		}
		change(content)
		if text, err = yaml.Marshal(content); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(old, file), text, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	change("Chart.yaml", func(m map[string]any) { m["version"] = "0.0.1" })
	change("crds/backup.communityhealthtoolkit.org_backups.yaml", func(m map[string]any) {
		versions, _, err := unstructured.NestedSlice(m, "spec", "versions")
		if err != nil || len(versions) != 1 {
			t.Fatalf("%d versions, %v", len(versions), err)
		}
		version, _ := versions[0].(map[string]any)
		columns, _, _ := unstructured.NestedSlice(version, "additionalPrinterColumns")
		version["additionalPrinterColumns"] = append(columns, map[string]any{"name": oldColumn, "type": "string", "jsonPath": ".metadata.name"})
		if err := unstructured.SetNestedSlice(m, versions, "spec", "versions"); err != nil {
			t.Fatal(err)
		}
	})
	return old
}
