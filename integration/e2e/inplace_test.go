package e2e

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/integration/cht"
	"github.com/medic/cht-backup/integration/cht/load"
	"github.com/medic/cht-backup/integration/harness"
	"github.com/medic/cht-backup/restore"
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
			o := deployed(ctx, t, c, nodes, everyPart)
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
	t.Parallel()
	c := suite.Cluster(t)
	if !c.Local {
		t.Skip("kills processes by id, on the testbed's machine only")
	}
	ctx := bounded(t, 40*time.Minute)
	o := deployed(ctx, t, c, 3, nil)
	c = killable(ctx, t, c, o.Namespace)
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
	t.Parallel()
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
			r := aborted(ctx, t, c, o.Namespace, "abort-"+strings.ToLower(string(phase)), inPlace(b), phase, "aborted", "spec.abort")
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
		{"three nodes into two", func(r *catalog.Record) {
			r.Nodes, r.Before, r.After = r.Nodes[:2], catalog.Survey{}, catalog.Survey{} // maps that name the third would not be believed
		}, []string{"backup is of 2 CouchDB nodes", "has 3", "cannot be read by the other"}},
		{"nodes reordered", func(r *catalog.Record) {
			r.Nodes[0].ErlangName, r.Nodes[1].ErlangName = r.Nodes[1].ErlangName, r.Nodes[0].ErlangName
		}, []string{"reordered"}},
		{"claims exchanged", func(r *catalog.Record) { r.Nodes[0].Claim, r.Nodes[1].Claim = r.Nodes[1].Claim, r.Nodes[0].Claim }, []string{three.Claim(0), three.Claim(1), "another node"}},
		{"data elsewhere on the volume", func(r *catalog.Record) { r.Nodes[2].DataSubPath = "elsewhere" }, []string{"elsewhere", "subPath"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			var good catalog.Record
			alter(ctx, t, c, b, func(r *catalog.Record) {
				good = *r
				good.Nodes = slices.Clone(r.Nodes)
				test.change(r)
			})
			defer alter(ctx, t, c, b, func(r *catalog.Record) { *r = good })
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
