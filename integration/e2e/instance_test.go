package e2e

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/integration/cht"
	"github.com/medic/cht-backup/integration/cht/load"
	"github.com/medic/cht-backup/integration/harness"
	"github.com/medic/cht-backup/snapshot/await"
)

// What an instance is before and after a restore that touches it.

func ended(r *api.Restore) bool {
	return r.Status.Phase == api.PhaseCompleted || r.Status.Phase == api.PhaseFailed
}

// reached returns at once when a restore is at a step, however short that is.
func reached(ctx context.Context, t *testing.T, c *harness.Cluster, r *api.Restore, at func(*api.Restore) bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(ctx, restoreWithin)
	defer cancel()
	events, err := c.Client.Watch(ctx, &api.RestoreList{}, client.InNamespace(r.Namespace), client.MatchingFields{"metadata.name": r.Name})
	if err != nil {
		t.Fatal(err)
	}
	defer events.Stop()
	for event := range events.ResultChan() {
		now, ok := event.Object.(*api.Restore)
		if !ok || ended(now) {
			t.Fatalf("the restore ended, or its watch did, before it was seen at that step: %v", event.Object)
		}
		if at(now) {
			return
		}
	}
	t.Fatalf("the watch of restore %s ended: %v", r.Name, ctx.Err())
}

// aborted creates a restore and aborts it at a step, waits for its end, and checks
// that it says so.
func aborted(ctx context.Context, t *testing.T, c *harness.Cluster, namespace, name string, spec api.RestoreSpec, at api.Phase, says ...string) *api.Restore {
	t.Helper()
	r, err := c.CreateRestore(ctx, namespace, name, spec)
	if err != nil {
		t.Fatal(err)
	}
	reached(ctx, t, c, r, func(r *api.Restore) bool { return r.Status.Phase == at })
	merge(ctx, t, c, r.DeepCopy(), `{"spec":{"abort":true}}`)
	if r, err = c.WaitRestore(ctx, r, restoreWithin, nil); err != nil {
		t.Fatal(err)
	}
	judge(t, "restore", r.Status.Phase, r.Status.Conditions, api.ReasonAborted, says)
	return r
}

// contents are the documents that a restore is measured by.
func contents(ctx context.Context, t *testing.T, c *harness.Cluster, o cht.Options) *load.Dump {
	t.Helper()
	return without(dumped(ctx, t, c, o, o.Namespace), "\x00")
}

func count(d *load.Dump, prefix string) (n int) {
	for k := range d.Docs {
		if strings.HasPrefix(k.ID, prefix) {
			n++
		}
	}
	return n
}

// laters counts the calls of later: what an earlier one wrote may be there yet.
var laters atomic.Int64

// later writes what the backup does not have.
func later(ctx context.Context, t *testing.T, c *harness.Cluster, o cht.Options) {
	t.Helper()
	writer := writing(ctx, t, c, o.Namespace, "writer", "--rate", "40", "--prefix", fmt.Sprintf("later-%d", laters.Add(1)))
	time.Sleep(2 * time.Second) // some writes
	stopped(ctx, t, writer)
}

// thaw arms a thaw from outside for the safety backup of a restore, which it must
// outlast.
func thaw(t *testing.T, c *harness.Cluster) {
	t.Helper()
	c.ThawGuard(t, 2*restoreWithin)
}

func claims(ctx context.Context, t *testing.T, c *harness.Cluster, namespace string) []corev1.PersistentVolumeClaim {
	t.Helper()
	var list corev1.PersistentVolumeClaimList
	if err := c.Client.List(ctx, &list, client.InNamespace(namespace)); err != nil {
		t.Fatal(err)
	}
	return list.Items
}

// volumesOf gives the volumes of the nodes' claims, in the nodes' order.
func volumesOf(ctx context.Context, t *testing.T, c *harness.Cluster, o cht.Options) []string {
	t.Helper()
	volumes := make([]string, o.Nodes)
	for _, claim := range claims(ctx, t, c, o.Namespace) {
		for i := range volumes {
			if claim.Name == o.Claim(i) {
				volumes[i] = claim.Spec.VolumeName
			}
		}
	}
	return volumes
}

// claimGone waits until one of the nodes' claims is deleted.
func claimGone(ctx context.Context, t *testing.T, c *harness.Cluster, o cht.Options) bool {
	t.Helper()
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	events, err := c.Client.Watch(ctx, &corev1.PersistentVolumeClaimList{}, client.InNamespace(o.Namespace))
	if err != nil {
		t.Fatal(err)
	}
	defer events.Stop()
	for event := range events.ResultChan() {
		if event.Type == watch.Deleted && event.Object.(*corev1.PersistentVolumeClaim).Name == o.Claim(0) {
			return true
		}
	}
	t.Fatal("no claim was deleted while swapping")
	return false
}

func deploymentsIn(ctx context.Context, t *testing.T, c *harness.Cluster, namespace string, text func(*appsv1.Deployment) string) string {
	t.Helper()
	var list appsv1.DeploymentList
	if err := c.Client.List(ctx, &list, client.InNamespace(namespace)); err != nil {
		t.Fatal(err)
	}
	var lines []string
	for i := range list.Items {
		lines = append(lines, list.Items[i].Name+" "+text(&list.Items[i]))
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

func replicasIn(ctx context.Context, t *testing.T, c *harness.Cluster, namespace string) string {
	return deploymentsIn(ctx, t, c, namespace, func(d *appsv1.Deployment) string { return fmt.Sprint(*d.Spec.Replicas) })
}

// generationsIn changes with every change of a workload.
func generationsIn(ctx context.Context, t *testing.T, c *harness.Cluster, namespace string) string {
	return deploymentsIn(ctx, t, c, namespace, func(d *appsv1.Deployment) string { return fmt.Sprint(d.Generation) })
}

func imageOf(ctx context.Context, t *testing.T, c *harness.Cluster, namespace, name string) string {
	t.Helper()
	var d appsv1.Deployment
	if err := c.Client.Get(ctx, client.ObjectKey{Namespace: namespace, Name: name}, &d); err != nil {
		t.Fatal(err)
	}
	return d.Spec.Template.Spec.Containers[0].Image
}

// setImage is an upgrade.
func setImage(ctx context.Context, t *testing.T, c *harness.Cluster, namespace, name, image string) {
	t.Helper()
	patch := fmt.Sprintf(`[{"op":"replace","path":"/spec/template/spec/containers/0/image","value":%q}]`, image)
	if _, err := c.Kube.AppsV1().Deployments(namespace).Patch(ctx, name, types.JSONPatchType, []byte(patch), metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
}

// keptAside checks that a volume of before is there, kept, and says whose it is.
func keptAside(ctx context.Context, t *testing.T, c *harness.Cluster, r *api.Restore, v api.RestoredVolume) {
	t.Helper()
	var pv corev1.PersistentVolume
	if err := c.Client.Get(ctx, client.ObjectKey{Name: v.SetAside}, &pv); err != nil {
		t.Error(err)
		return
	}
	if pv.Spec.PersistentVolumeReclaimPolicy != corev1.PersistentVolumeReclaimRetain || pv.Labels[api.SetAsideLabel] != string(r.UID) ||
		pv.Annotations[api.SetAsideClaimAnnotation] != r.Namespace+"/"+v.Claim {
		t.Errorf("volume %s is set aside with policy %s, labels %v, annotations %v", pv.Name, pv.Spec.PersistentVolumeReclaimPolicy, pv.Labels, pv.Annotations)
	}
}

// noneHalf checks that no claim but the nodes', no restored volume without a
// claim, no pod of ours and no imported snapshot is left of a restore.
func noneHalf(ctx context.Context, t *testing.T, c *harness.Cluster, o cht.Options, r *api.Restore) {
	t.Helper()
	var own []string
	for i := range o.Nodes {
		own = append(own, o.Claim(i))
	}
	for _, claim := range claims(ctx, t, c, o.Namespace) {
		if !slices.Contains(own, claim.Name) {
			t.Errorf("claim %s is left", claim.Name)
		}
	}
	var pods corev1.PodList
	if err := c.Client.List(ctx, &pods, client.InNamespace(o.Namespace), client.HasLabels{api.RestoreUIDLabel}); err != nil {
		t.Fatal(err)
	}
	for _, p := range pods.Items {
		t.Errorf("pod %s is left", p.Name)
	}
	if r.Status.Phase == api.PhaseCompleted {
		return
	}
	for _, v := range r.Status.Volumes {
		if v.Volume == "" {
			continue
		}
		if r.Status.Served { // somebody may have written to it: it is kept, and named
			if !strings.Contains(strings.Join(r.Status.Notes, "\n"), v.Volume) {
				t.Errorf("volume %s was in use, and no note names it: %v", v.Volume, r.Status.Notes)
			}
			continue
		}
		var volumes corev1.PersistentVolumeList
		within, cancel := context.WithTimeout(ctx, time.Minute)
		err := await.List(within, c.Client, &volumes, func() (string, error) {
			if len(volumes.Items) > 0 {
				return fmt.Sprintf("the end of the restored volume %s (%s)", v.Volume, volumes.Items[0].Status.Phase), nil
			}
			return "", nil
		}, client.MatchingFields{"metadata.name": v.Volume})
		cancel()
		if err != nil {
			t.Error(err)
		}
	}
}

// discardSetAside deletes, at the test's end, what restores in place kept: the way
// docs/restore.md has it.
func discardSetAside(t *testing.T, c *harness.Cluster, namespace string) {
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		var volumes corev1.PersistentVolumeList
		if err := c.Client.List(ctx, &volumes, client.HasLabels{api.SetAsideLabel}); err != nil {
			t.Error(err)
		}
		for i := range volumes.Items {
			pv := &volumes.Items[i]
			if !strings.HasPrefix(pv.Annotations[api.SetAsideClaimAnnotation], namespace+"/") {
				continue
			}
			if err := c.Client.Patch(ctx, pv, client.RawPatch(types.MergePatchType, []byte(`{"spec":{"persistentVolumeReclaimPolicy":"Delete"}}`))); client.IgnoreNotFound(err) != nil {
				t.Error(err)
			}
		}
	})
}

// deleteRestore returns when it is gone.
func deleteRestore(ctx context.Context, t *testing.T, c *harness.Cluster, r *api.Restore) {
	t.Helper()
	if err := c.Client.Delete(ctx, r.DeepCopy()); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(ctx, restoreWithin)
	defer cancel()
	var restores api.RestoreList
	if err := await.List(ctx, c.Client, &restores, func() (string, error) {
		if len(restores.Items) > 0 {
			return "the end of restore " + r.Name, nil
		}
		return "", nil
	}, client.InNamespace(r.Namespace), client.MatchingFields{"metadata.name": r.Name}); err != nil {
		t.Fatal(err)
	}
}

func deleteSafety(ctx context.Context, t *testing.T, c *harness.Cluster, r *api.Restore) {
	t.Helper()
	if r.Status.SafetyBackup == "" {
		return
	}
	deleteBackup(ctx, t, c, &api.Backup{ObjectMeta: metav1.ObjectMeta{Namespace: r.Namespace, Name: r.Status.SafetyBackup}})
}

// replaceController kills the controller's process, then its pod, so that the
// next one comes without the kubelet's back-off.
func replaceController(ctx context.Context, t *testing.T, c *harness.Cluster) {
	t.Helper()
	pod, err := c.ControllerPod(ctx)
	if err != nil {
		t.Fatal(err)
	}
	kill(t, processes(t, pod.UID, "controller"))
	none := int64(0)
	if err := c.Client.Delete(ctx, pod, &client.DeleteOptions{GracePeriodSeconds: &none}); client.IgnoreNotFound(err) != nil {
		t.Fatal(err)
	}
}
