package e2e

import (
	"context"
	"testing"

	snapv1 "github.com/kubernetes-csi/external-snapshotter/client/v8/apis/volumesnapshot/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/integration/harness"
	"github.com/medic/cht-backup/snapshot/catalog"
)

func records(c *harness.Cluster) catalog.Store {
	return catalog.Store{Client: c.Client, Namespace: c.ControllerHome()}
}

// alter changes a backup's record, as a confused operator or storage might.
func alter(ctx context.Context, t *testing.T, c *harness.Cluster, b *api.Backup, change func(*catalog.Record)) {
	t.Helper()
	record, err := records(c).Get(ctx, b.Status.Record)
	if err != nil {
		t.Fatal(err)
	}
	change(&record)
	if _, err := records(c).Put(ctx, record, b.Spec.AllowedNamespaces); err != nil {
		t.Fatal(err)
	}
}

// discardKept removes what a backup left when its namespace was deleted.
func discardKept(t *testing.T, c *harness.Cluster, b *api.Backup) {
	t.Helper()
	ctx := context.Background()
	for _, v := range b.Status.Volumes {
		if v.Content == "" {
			continue // of method File: the catalog's collection removes the rest
		}
		content := &snapv1.VolumeSnapshotContent{}
		content.Name = v.Content
		err := c.Client.Patch(ctx, content, client.RawPatch(types.MergePatchType, []byte(`{"spec":{"deletionPolicy":"Delete"}}`)))
		if err == nil {
			err = c.Client.Delete(ctx, content)
		}
		if client.IgnoreNotFound(err) != nil {
			t.Errorf("remove content %s: %v", v.Content, err)
		}
	}
	if err := records(c).Delete(ctx, b.UID); err != nil {
		t.Error(err)
	}
}
