package e2e

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	snapv1 "github.com/kubernetes-csi/external-snapshotter/client/v8/apis/volumesnapshot/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/integration/cht/load"
	"github.com/medic/cht-backup/integration/harness"
	"github.com/medic/cht-backup/snapshot/await"
)

// createdFor makes a namespace as `kubectl cht restore` does: marked as made for
// the restore of that name.
func createdFor(ctx context.Context, t *testing.T, c *harness.Cluster, restore string) string {
	t.Helper()
	name := c.TempNamespace(t, "clone")
	merge(ctx, t, c, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}, fmt.Sprintf(`{"metadata":{"annotations":{%q:%q}}}`, api.CreatedForAnnotation, restore))
	return name
}

func merge(ctx context.Context, t *testing.T, c *harness.Cluster, o client.Object, patch string) {
	t.Helper()
	if err := c.Client.Patch(ctx, o, client.RawPatch(types.MergePatchType, []byte(patch))); err != nil {
		t.Fatalf("patch %T %s with %s: %v", o, o.GetName(), patch, err)
	}
}

// holdings are the claims, volumes, snapshots and contents of a namespace by name
// and UID.
func holdings(ctx context.Context, t *testing.T, c *harness.Cluster, namespace string) []string {
	t.Helper()
	var claims corev1.PersistentVolumeClaimList
	var volumes corev1.PersistentVolumeList
	var snapshots snapv1.VolumeSnapshotList
	var contents snapv1.VolumeSnapshotContentList
	for list, opts := range map[client.ObjectList][]client.ListOption{&claims: {client.InNamespace(namespace)}, &snapshots: {client.InNamespace(namespace)}, &volumes: nil, &contents: nil} {
		if err := c.Client.List(ctx, list, opts...); err != nil {
			t.Fatal(err)
		}
	}
	all := map[string]bool{}
	add := func(kind string, o client.Object) { all[fmt.Sprintf("%s %s %s", kind, o.GetName(), o.GetUID())] = true }
	for i := range claims.Items {
		add("claim", &claims.Items[i])
	}
	for i := range volumes.Items {
		if ref := volumes.Items[i].Spec.ClaimRef; ref != nil && ref.Namespace == namespace {
			add("volume", &volumes.Items[i])
		}
	}
	for i := range snapshots.Items {
		add("snapshot", &snapshots.Items[i])
	}
	for i := range contents.Items {
		if contents.Items[i].Spec.VolumeSnapshotRef.Namespace == namespace {
			add("content", &contents.Items[i])
		}
	}
	return slices.Sorted(maps.Keys(all))
}

// TestTimeToLive lets clones of a running source end by the clock.
func TestTimeToLive(t *testing.T) {
	t.Parallel()
	c := suite.Cluster(t)
	ctx := bounded(t, 12*time.Minute)
	o := deployed(ctx, t, c, 1, nil)
	b := guardedBackup(t, c, o.Namespace, "b", api.BackupSpec{AllowedNamespaces: []string{"*"}})
	before, documents, had := state(ctx, t, c, o), dumped(ctx, t, c, o, o.Namespace), holdings(ctx, t, c, o.Namespace)
	if len(had) != 4 {
		t.Fatalf("the source has %v, want a claim, a volume, a snapshot and its content", had)
	}

	for name, live := range map[string]func(*api.RestoreSpec){
		"live":         func(s *api.RestoreSpec) { s.GoLive = true },
		"in place":     func(s *api.RestoreSpec) { s.InPlace = &api.InPlace{} },
		"one database": func(s *api.RestoreSpec) { s.Database = &api.DatabaseRestore{Name: "medic"} },
	} {
		spec := sourceOf(b)
		spec.TimeToLive = &metav1.Duration{Duration: time.Hour}
		live(&spec)
		if _, err := c.CreateRestore(ctx, o.Namespace, "live", spec); err == nil || !strings.Contains(err.Error(), "timeToLive is for clones") {
			t.Errorf("%s with a time to live: %v", name, err)
		}
	}

	t.Run("clone and namespace go", func(t *testing.T) {
		clone := createdFor(ctx, t, c, "r")
		spec := sourceOf(b)
		spec.TimeToLive = &metav1.Duration{Duration: time.Hour}
		r := c.Restore(t, clone, "r", spec, restoreWithin)
		if got := holdings(ctx, t, c, clone); len(got) != 2 {
			t.Errorf("the clone has %v, want a claim and a volume", got)
		}
		expires := func(ttl string, want time.Duration) {
			merge(ctx, t, c, r.DeepCopy(), `{"spec":{"timeToLive":"`+ttl+`"}}`)
			if _, err := c.WaitRestore(ctx, r, time.Minute, func(r *api.Restore) bool {
				return r.Status.ExpirationTime != nil && r.Status.ExpirationTime.Sub(r.Status.CompletionTime.Time).Round(time.Minute) == want
			}); err != nil {
				t.Errorf("extended to %s: %v", ttl, err)
			}
		}
		expires("1h", time.Hour)
		expires("3h", 3*time.Hour)
		// A class of storage that keeps volumes must not keep protected data.
		merge(ctx, t, c, &corev1.PersistentVolume{ObjectMeta: metav1.ObjectMeta{Name: r.Status.Volumes[0].Volume}}, `{"spec":{"persistentVolumeReclaimPolicy":"Retain"}}`)
		merge(ctx, t, c, r.DeepCopy(), `{"spec":{"timeToLive":"1s"}}`)
		var namespaces corev1.NamespaceList
		if err := await.List(ctx, c.Client, &namespaces, func() (string, error) {
			if len(namespaces.Items) > 0 {
				return "the end of namespace " + clone, nil
			}
			return "", nil
		}, client.MatchingFields{"metadata.name": clone}); err != nil {
			t.Fatal(err)
		}
		if left := holdings(ctx, t, c, clone); len(left) > 0 {
			t.Errorf("left behind are %v", left)
		}
	})

	t.Run("clone goes, somebody's work stays", func(t *testing.T) {
		clone := createdFor(ctx, t, c, "r")
		r := c.Restore(t, clone, "r", sourceOf(b), restoreWithin)
		if r.Status.ExpirationTime != nil {
			t.Errorf("a clone without a time to live ends at %s", r.Status.ExpirationTime)
		}
		// It is complete: the first clone's end took nothing of the backup.
		if diff := load.Diff(without(documents, "\x00"), without(dumped(ctx, t, c, o, clone), "\x00")); len(diff) > 0 {
			t.Errorf("%d differences, the first: %v", len(diff), diff[:min(5, len(diff))])
		}
		work := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: clone, Name: "somebodys-work"}}
		if err := c.Client.Create(ctx, work); err != nil {
			t.Fatal(err)
		}
		merge(ctx, t, c, r.DeepCopy(), `{"spec":{"timeToLive":"1s"}}`)
		r, err := c.WaitRestore(ctx, r, restoreWithin, func(r *api.Restore) bool { return r.Status.Phase == api.PhaseExpired })
		if err != nil {
			t.Fatal(err)
		}
		if len(r.Status.Notes) == 0 || !strings.Contains(r.Status.Notes[len(r.Status.Notes)-1], "is kept, since it holds") {
			t.Errorf("it does not say why the namespace is kept: %q", r.Status.Notes)
		}
		if left := holdings(ctx, t, c, clone); len(left) > 0 {
			t.Errorf("left behind are %v", left)
		}
		if left, err := c.Leftovers(ctx, clone); err != nil || len(left) > 0 {
			t.Errorf("left behind are %v, %v", left, err)
		}
		if err := c.Client.Get(ctx, clientKey(work), work); err != nil || work.DeletionTimestamp != nil {
			t.Errorf("somebody's work was touched: %v", err)
		}
	})

	if now := holdings(ctx, t, c, o.Namespace); !slices.Equal(now, had) {
		t.Errorf("the source had %v and has %v", had, now)
	}
	if after := state(ctx, t, c, o); after != before {
		t.Errorf("the source's membership or shard maps changed:\nbefore %s\nafter  %s", before, after)
	}
	if diff := load.Diff(without(documents, "\x00"), without(dumped(ctx, t, c, o, o.Namespace), "\x00")); len(diff) > 0 {
		t.Errorf("the source's documents changed: %v", diff[:min(5, len(diff))])
	}
	// Its snapshots are not only there: they can still be restored.
	last := c.TempNamespace(t, "clone")
	c.Restore(t, last, "r", sourceOf(b), restoreWithin)
	if diff := load.Diff(without(documents, "\x00"), without(dumped(ctx, t, c, o, last), "\x00")); len(diff) > 0 {
		t.Errorf("restored after the clones' end: %d differences, the first: %v", len(diff), diff[:min(5, len(diff))])
	}
}
