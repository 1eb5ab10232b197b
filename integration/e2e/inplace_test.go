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
	"github.com/medic/cht-backup/restore"
	"github.com/medic/cht-backup/snapshot/await"
	"github.com/medic/cht-backup/snapshot/catalog"
)

func inPlace(b *api.Backup) api.RestoreSpec {
	spec := sourceOf(b)
	spec.InPlace = &api.InPlace{}
	return spec
}

// TestInPlace goes back to a backup after a bad upgrade.
func TestInPlace(t *testing.T) {
	t.Parallel()
	for _, nodes := range []int{1, 3} {
		t.Run(fmt.Sprint(nodes, " nodes"), func(t *testing.T) {
			t.Parallel()
			c := suite.Cluster(t)
			ctx := bounded(t, 12*time.Minute)
			o := deployed(ctx, t, c, nodes, func(o *cht.Options) { o.Components = cht.AllComponents })
			discardSetAside(t, c, o.Namespace)
			b := guardedBackup(t, c, o.Namespace, "b", api.BackupSpec{})
			backedUp := contents(ctx, t, c, o)
			former, replicas := volumesOf(ctx, t, c, o), replicasIn(ctx, t, c, o.Namespace)

			later(ctx, t, c, o)
			broken, image := "", imageOf(ctx, t, c, o.Namespace, "cht-api")
			if nodes == 1 {
				broken = "cht-api:of-a-bad-upgrade"
				setImage(ctx, t, c, o.Namespace, "cht-api", broken)
			}

			spec := inPlace(b)
			spec.PlanOnly = true
			r, err := c.CreateRestore(ctx, o.Namespace, "r", spec)
			if err == nil {
				r, err = c.WaitRestore(ctx, r, restoreWithin, func(r *api.Restore) bool {
					return r.Status.Phase == api.PhasePlanned || r.Status.Phase == api.PhaseFailed
				})
			}
			if err != nil {
				t.Fatal(err)
			}
			planned(t, r, o, former, broken)
			if now := volumesOf(ctx, t, c, o); !slices.Equal(now, former) {
				t.Fatalf("the plan alone changed the volumes from %v to %v", former, now)
			}

			if err := c.Client.Patch(ctx, r.DeepCopy(), client.RawPatch(types.MergePatchType, []byte(`{"spec":{"planOnly":false}}`))); err != nil {
				t.Fatal(err)
			}
			thaw(t, c)
			if r, err = c.WaitRestore(ctx, r, restoreWithin, nil); err != nil {
				t.Fatal(err)
			}
			if r.Status.Phase != api.PhaseCompleted {
				t.Fatalf("the restore is %s: %s", r.Status.Phase, harness.Message(r.Status.Conditions))
			}
			if diff := load.Diff(backedUp, contents(ctx, t, c, o)); len(diff) > 0 {
				t.Errorf("%d differences to the backup, the first: %v", len(diff), diff[:min(5, len(diff))])
			}
			for i, v := range r.Status.Volumes {
				if v.SetAside != former[i] || v.Volume == former[i] {
					t.Errorf("%s: the status has volume %s and %s set aside, want %s set aside", v.Node, v.Volume, v.SetAside, former[i])
				}
				keptAside(ctx, t, c, r, v)
			}
			if now := replicasIn(ctx, t, c, o.Namespace); now != replicas {
				t.Errorf("replicas were\n%s\nand are\n%s", replicas, now)
			}
			if now := imageOf(ctx, t, c, o.Namespace, "cht-api"); now != image {
				t.Errorf("the API's image is %s, want the backup's %s", now, image)
			}
			if err := cht.WaitReady(ctx, c.Client, o, c.Transport()); err != nil {
				t.Errorf("the CHT does not work: %v", err)
			}
			var safety api.Backup
			if err := c.Client.Get(ctx, client.ObjectKey{Namespace: o.Namespace, Name: r.Status.SafetyBackup}, &safety); err != nil || safety.Status.Phase != api.PhaseCompleted {
				t.Errorf("safety backup %q is %q (%v)", r.Status.SafetyBackup, safety.Status.Phase, err)
			}
			noneHalf(ctx, t, c, o, r)

			// What was written later is in the safety backup, and so is the bad upgrade.
			forward := inPlace(&safety)
			if broken == "" {
				c.Restore(t, o.Namespace, "forward", forward, restoreWithin)
				if n := count(contents(ctx, t, c, o), "later-"); n == 0 {
					t.Error("the safety backup lacks what was written before the restore")
				}
				return
			}
			forward.StepTimeout.Duration = 40 * time.Second
			failed := refused(ctx, t, c, o.Namespace, forward, api.ReasonStartTimeout, "cht-api", "former volumes again")
			data := o
			data.Components = cht.Components{HAProxy: true, Healthcheck: true} // the API is broken as before
			if err := cht.WaitReady(ctx, c.Client, data, c.Transport()); err != nil {
				t.Errorf("CouchDB does not work: %v", err)
			}
			if diff := load.Diff(backedUp, contents(ctx, t, c, o)); len(diff) > 0 {
				t.Errorf("%d differences after the way back, the first: %v", len(diff), diff[:min(5, len(diff))])
			}
			if notes := strings.Join(failed.Status.Notes, "\n"); !strings.Contains(notes, failed.Status.Volumes[0].Volume) {
				t.Errorf("the notes do not name volume %s, which was in use: %s", failed.Status.Volumes[0].Volume, notes)
			}
		})
	}
}

// planned checks that a plan names every claim, volume and workload.
func planned(t *testing.T, r *api.Restore, o cht.Options, former []string, broken string) {
	t.Helper()
	if r.Status.Phase != api.PhasePlanned || r.Status.Plan == nil {
		t.Fatalf("the plan is %s: %s", r.Status.Phase, harness.Message(r.Status.Conditions))
	}
	var all []string
	var phases []api.Phase
	for _, s := range r.Status.Plan.Steps {
		phases = append(phases, s.Phase)
		all = append(all, s.Actions...)
	}
	if want := restore.Steps(r.Spec)[1:]; !slices.Equal(phases, want) {
		t.Errorf("the plan has the steps %v, want %v", phases, want)
	}
	text := strings.Join(all, "\n")
	for i, volume := range former {
		for _, word := range []string{volume, o.Claim(i)} {
			if !strings.Contains(text, word) {
				t.Errorf("the plan does not name %s:\n%s", word, text)
			}
		}
	}
	for _, word := range []string{"cht-api", "cht-sentinel", "cht-haproxy", "cht-couchdb", "safety"} {
		if !strings.Contains(text, word) {
			t.Errorf("the plan does not name %s:\n%s", word, text)
		}
	}
	if warnings := strings.Join(r.Status.Plan.Warnings, "\n"); broken != "" && !strings.Contains(warnings, broken) || !strings.Contains(warnings, "everything written after") {
		t.Errorf("the plan does not warn of the image that changes and of what was written later:\n%s", warnings)
	}
}

// TestInPlaceSurvivesItsController kills the controller on entering every step:
// the restore finishes or goes back, by documents.
func TestInPlaceSurvivesItsController(t *testing.T) {
	c := suite.Cluster(t)
	if !c.Local {
		t.Skip("kills processes by id, on the testbed's machine only")
	}
	ctx := bounded(t, 40*time.Minute)
	o := deployed(ctx, t, c, 3, nil)
	discardSetAside(t, c, o.Namespace)
	b := guardedBackup(t, c, o.Namespace, "b", api.BackupSpec{})
	backedUp := contents(ctx, t, c, o)

	type test struct {
		name string
		at   func(*api.Restore) bool
	}
	var tests []test
	for _, phase := range restore.Steps(inPlace(b)) {
		tests = append(tests, test{strings.ToLower(string(phase)), func(r *api.Restore) bool { return r.Status.Phase == phase }})
	}
	tests = append(tests, test{"a-claim-gone", func(r *api.Restore) bool {
		return r.Status.Phase == api.PhaseSwapping && claimGone(ctx, t, c, o)
	}})
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			later(ctx, t, c, o)
			before, replicas := contents(ctx, t, c, o), replicasIn(ctx, t, c, o.Namespace)
			thaw(t, c)
			r, err := c.CreateRestore(ctx, o.Namespace, "kill-"+test.name, inPlace(b))
			if err != nil {
				t.Fatal(err)
			}
			reached(ctx, t, c, r, test.at)
			replaceController(ctx, t, c)
			if r, err = c.WaitRestore(ctx, r, restoreWithin, nil); err != nil {
				t.Fatal(err)
			}
			want := before
			if r.Status.Phase == api.PhaseCompleted {
				want = backedUp
			}
			if err := cht.WaitReady(ctx, c.Client, o, c.Transport()); err != nil {
				t.Errorf("the CHT does not work: %v", err)
			}
			if diff := load.Diff(want, contents(ctx, t, c, o)); len(diff) > 0 {
				t.Errorf("the restore is %s, and there are %d differences, the first: %v", r.Status.Phase, len(diff), diff[:min(5, len(diff))])
			}
			if now := replicasIn(ctx, t, c, o.Namespace); now != replicas {
				t.Errorf("replicas were\n%s\nand are\n%s", replicas, now)
			}
			noneHalf(ctx, t, c, o, r)
			t.Logf("killed at %s, the restore is %s: %s", test.name, r.Status.Phase, harness.Message(r.Status.Conditions))
			deleteSafety(ctx, t, c, r)
		})
	}
}

// TestInPlaceGoesBack ends restores in place at every step, by an abort, and by
// data that does not hold, and looks for the state of before.
func TestInPlaceGoesBack(t *testing.T) {
	c := suite.Cluster(t)
	ctx := bounded(t, 30*time.Minute)
	o := deployed(ctx, t, c, 1, nil)
	discardSetAside(t, c, o.Namespace)
	b := guardedBackup(t, c, o.Namespace, "b", api.BackupSpec{})
	later(ctx, t, c, o)
	before, replicas, former := contents(ctx, t, c, o), replicasIn(ctx, t, c, o.Namespace), volumesOf(ctx, t, c, o)
	unchanged := func(t *testing.T, r *api.Restore) {
		t.Helper()
		if err := cht.WaitReady(ctx, c.Client, o, c.Transport()); err != nil {
			t.Errorf("the CHT does not work: %v", err)
		}
		if now := volumesOf(ctx, t, c, o); !slices.Equal(now, former) {
			t.Errorf("the volumes were %v and are %v", former, now)
		}
		if now := replicasIn(ctx, t, c, o.Namespace); now != replicas {
			t.Errorf("replicas were\n%s\nand are\n%s", replicas, now)
		}
		if diff := load.Diff(before, contents(ctx, t, c, o)); len(diff) > 0 {
			t.Errorf("%d differences to before, the first: %v", len(diff), diff[:min(5, len(diff))])
		}
		noneHalf(ctx, t, c, o, r)
	}

	for _, phase := range restore.Steps(inPlace(b))[1:] {
		t.Run("aborted at "+string(phase), func(t *testing.T) {
			thaw(t, c)
			r, err := c.CreateRestore(ctx, o.Namespace, "abort-"+strings.ToLower(string(phase)), inPlace(b))
			if err != nil {
				t.Fatal(err)
			}
			reached(ctx, t, c, r, func(r *api.Restore) bool { return r.Status.Phase == phase })
			if err := c.Client.Patch(ctx, r.DeepCopy(), client.RawPatch(types.MergePatchType, []byte(`{"spec":{"abort":true}}`))); err != nil {
				t.Fatal(err)
			}
			if r, err = c.WaitRestore(ctx, r, restoreWithin, nil); err != nil {
				t.Fatal(err)
			}
			judge(t, "restore", r.Status.Phase, r.Status.Conditions, api.ReasonAborted, []string{"aborted", "spec.abort"})
			unchanged(t, r)
			deleteSafety(ctx, t, c, r)
		})
	}
	t.Run("deleted while swapping", func(t *testing.T) {
		thaw(t, c)
		r, err := c.CreateRestore(ctx, o.Namespace, "deleted", inPlace(b))
		if err != nil {
			t.Fatal(err)
		}
		reached(ctx, t, c, r, func(r *api.Restore) bool { return r.Status.Phase == api.PhaseSwapping })
		deleteRestore(ctx, t, c, r)
		unchanged(t, r)
		deleteSafety(ctx, t, c, r)
	})
	t.Run("data that does not hold", func(t *testing.T) {
		other := deployed(ctx, t, c, 1, func(o *cht.Options) { o.Components = cht.Components{} })
		fresh, err := records(c).Get(ctx, c.Backup(t, other.Namespace, "fresh", api.BackupSpec{}, backupWithin).Status.Record)
		if err != nil {
			t.Fatal(err)
		}
		var handle string
		alter(ctx, t, c, b, func(r *catalog.Record) {
			handle, r.Nodes[0].SnapshotHandle = r.Nodes[0].SnapshotHandle, fresh.Nodes[0].SnapshotHandle
		})
		defer alter(ctx, t, c, b, func(r *catalog.Record) { r.Nodes[0].SnapshotHandle = handle })
		thaw(t, c)
		r := refused(ctx, t, c, o.Namespace, inPlace(b), api.ReasonShardsMissing, "lacks shard", "former volumes again")
		unchanged(t, r)
		deleteSafety(ctx, t, c, r)
	})
	t.Run("safety backup fails", func(t *testing.T) {
		if !c.Local {
			t.Skip("needs the test driver's knob that fails")
		}
		generations := generationsIn(ctx, t, c, o.Namespace)
		c.DefaultSnapshotClass(t, map[string]string{"failCode": "Internal"})
		r := refused(ctx, t, c, o.Namespace, inPlace(b), api.ReasonSafetyBackupFailed, "nothing was touched", "safety", "--no-safety-backup")
		if now := generationsIn(ctx, t, c, o.Namespace); now != generations {
			t.Errorf("workloads were touched: generations were\n%s\nand are\n%s", generations, now)
		}
		unchanged(t, r)
	})
}

func TestInPlaceRefusals(t *testing.T) {
	t.Parallel()
	c := suite.Cluster(t)
	ctx := bounded(t, 15*time.Minute)
	one := deployed(ctx, t, c, 1, func(o *cht.Options) { o.Components = cht.Components{} })
	three := deployed(ctx, t, c, 3, func(o *cht.Options) { o.Components = cht.Components{} })
	b := c.Backup(t, three.Namespace, "b", api.BackupSpec{AllowedNamespaces: []string{"*"}}, backupWithin)
	t.Run("another instance's backup", func(t *testing.T) {
		refused(ctx, t, c, one.Namespace, inPlace(b), api.ReasonNotAllowed, "is not of namespace "+one.Namespace, "empty namespace")
	})
	t.Run("nothing there", func(t *testing.T) {
		refused(ctx, t, c, c.TempNamespace(t, "empty"), inPlace(b), api.ReasonNotAllowed, "is not of namespace")
	})
	for _, test := range []struct {
		name   string
		change func(*catalog.Record)
		says   []string
	}{
		{"three nodes into two", func(r *catalog.Record) { r.Nodes = r.Nodes[:2] }, []string{"backup is of 2 CouchDB nodes", "has 3", "cannot be read by the other"}},
		{"nodes reordered", func(r *catalog.Record) {
			r.Nodes[0].ErlangName, r.Nodes[1].ErlangName = r.Nodes[1].ErlangName, r.Nodes[0].ErlangName
		}, []string{"reordered"}},
		{"claims exchanged", func(r *catalog.Record) { r.Nodes[0].Claim, r.Nodes[1].Claim = r.Nodes[1].Claim, r.Nodes[0].Claim }, []string{three.Claim(0), three.Claim(1), "another node"}},
		{"data elsewhere on the volume", func(r *catalog.Record) { r.Nodes[2].DataSubPath = "elsewhere" }, []string{"elsewhere", "subPath"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			var good []catalog.Node
			alter(ctx, t, c, b, func(r *catalog.Record) {
				good = slices.Clone(r.Nodes)
				test.change(r)
			})
			defer alter(ctx, t, c, b, func(r *catalog.Record) { r.Nodes = good })
			deleteRestore(ctx, t, c, refused(ctx, t, c, three.Namespace, inPlace(b), api.ReasonTopologyMismatch, test.says...))
		})
	}
	t.Run("in place and live, or with a time to live", func(t *testing.T) {
		spec := inPlace(b)
		spec.TimeToLive = &metav1.Duration{Duration: time.Hour}
		if _, err := c.CreateRestore(ctx, three.Namespace, "ttl", spec); err == nil || !strings.Contains(err.Error(), "timeToLive") {
			t.Errorf("a time to live in place: %v", err)
		}
	})
}

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
