package harness

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	snapv1 "github.com/kubernetes-csi/external-snapshotter/client/v8/apis/volumesnapshot/v1"
	storagev1 "k8s.io/api/storage/v1"
)

// StorageClass is the cluster's default one.
func (c *Cluster) StorageClass(t testing.TB) string {
	t.Helper()
	var classes storagev1.StorageClassList
	if err := c.Client.List(t.Context(), &classes); err != nil {
		t.Fatalf("list storage classes: %v", err)
	}
	for _, one := range classes.Items {
		if one.Annotations["storageclass.kubernetes.io/is-default-class"] == "true" {
			return one.Name
		}
	}
	t.Fatal("the cluster has no default storage class")
	return ""
}

// StorageHas asks the storage itself, not the cluster, whether it has a snapshot.
// Only the testbed's can be asked.
func (c *Cluster) StorageHas(t testing.TB, driver, handle string) bool {
	t.Helper()
	if !c.Local || handle == "" {
		t.Fatalf("snapshot %q of driver %s cannot be looked for: the storage of another cluster cannot be asked", handle, driver)
	}
	pool := filepath.Join(filepath.Dir(c.Kubeconfig), "pool", driver, "snapshots")
	if _, err := os.Stat(pool); err != nil {
		t.Fatalf("the pool of driver %s: %v", driver, err)
	}
	_, err := os.Stat(filepath.Join(pool, handle+".json"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	return err == nil
}

// RetainingSnapshotClass makes a class, for one test, under which the storage's
// snapshots outlive their objects.
func (c *Cluster) RetainingSnapshotClass(t testing.TB) string {
	t.Helper()
	return c.snapshotClass(t, snapv1.VolumeSnapshotContentRetain, nil, nil)
}
