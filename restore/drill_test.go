package restore

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/events"
	"sigs.k8s.io/controller-runtime/pkg/client"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/restore/prepare"
	"github.com/medic/cht-backup/snapshot/reason"
)

func drill(d api.Drill) func(*api.Restore) {
	return func(r *api.Restore) {
		r.Spec.Drill, r.Spec.Verify, r.Status.BackupUID = &d, api.VerifySample, "u1"
		r.Status.Drill = &api.DrillStatus{Scratch: scratchName(r)}
	}
}

func keeping(d time.Duration) api.Drill { return api.Drill{KeepFailed: &metav1.Duration{Duration: d}} }

// scratched is a drill's scratch namespace, and the restore in it, which ended so.
func scratched(r *api.Restore, p api.Phase, why string, v *api.Verification) (*corev1.Namespace, *api.Restore) {
	child := scratchRestore(r, "u1")
	child.UID = "child-1"
	start, end := metav1.NewMicroTime(epoch), metav1.NewMicroTime(epoch.Add(time.Minute))
	child.Status = api.RestoreStatus{Phase: p, StartTime: &start, Verification: v}
	if p == api.PhaseCompleted || p == api.PhaseFailed {
		child.Status.CompletionTime = &end
	}
	if why != "" {
		meta.SetStatusCondition(&child.Status.Conditions, metav1.Condition{Type: api.ConditionReady, Status: metav1.ConditionFalse, Reason: why, Message: "as it was found"})
	}
	return &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: child.Namespace, UID: "n1", Labels: labels(r, ""), Annotations: scratchFor(r)}}, child
}

func proof() *api.Verification {
	end := metav1.NewMicroTime(epoch.Add(42 * time.Second))
	return &api.Verification{Level: api.VerifySample, Databases: 3, Shards: 36, Documents: 700, Sampled: 30, CompletionTime: &end}
}

func bad() *api.Verification { return &api.Verification{Problems: []string{"database medic"}} }

// What the scratch restore comes to, and what that means for the backup.
func TestDrilling(t *testing.T) {
	for _, tt := range []struct {
		name   string
		phase  api.Phase
		why    string
		v      *api.Verification
		change func(*api.Restore)
		reason string // "" when it is good or not over
		says   string
	}{
		{"not taken up yet", "", "", nil, nil, "", ""},
		{"under way", api.PhaseVerifying, api.ReasonProgressing, &api.Verification{Level: api.VerifySample}, nil, "", ""},
		{"proven", api.PhaseCompleted, api.ReasonCompleted, proof(), nil, "", ""},
		{"other data", api.PhaseFailed, api.ReasonVerificationFailed, bad(), nil, api.ReasonVerificationFailed, "as it was found"},
		{"no shard", api.PhaseFailed, api.ReasonShardsMissing, bad(), nil, api.ReasonShardsMissing, "as it was found"},
		{"a volume without data", api.PhaseFailed, api.ReasonPrepareFailed, bad(), nil, api.ReasonPrepareFailed, "as it was found"},
		{"a volume that could not be prepared", api.PhaseFailed, api.ReasonPrepareFailed, nil, nil, api.ReasonDrillFailed, "neither proven nor disproven"},
		{"CouchDB did not start", api.PhaseFailed, api.ReasonStartTimeout, nil, nil, api.ReasonDrillFailed, "(StartTimeout): as it was found"},
		{"CouchDB stopped answering after it had lacked something", api.PhaseFailed, api.ReasonStartTimeout, bad(), nil, api.ReasonDrillFailed, "neither"},
		{"it is being removed", api.PhaseExpiring, api.ReasonStartTimeout, nil, nil, api.ReasonDrillFailed, "neither"},
		{"somebody aborted it", api.PhaseFailed, api.ReasonAborted, nil, nil, api.ReasonAborted, "was aborted"},
		{"somebody made it again", api.PhaseCompleted, api.ReasonCompleted, proof(), func(r *api.Restore) { r.Status.Drill.ScratchUID = "child-0" }, api.ReasonDrillFailed, "was deleted"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := restoreOf(drill(api.Drill{}), phase(api.PhaseScratch))
			if tt.change != nil {
				tt.change(r)
			}
			namespace, child := scratched(r, tt.phase, tt.why, tt.v)
			b := newBench(t, r, namespace, child)
			err := b.drilling(t.Context(), workOf(t, r))
			var wait later
			over := tt.phase == api.PhaseCompleted || tt.reason != ""
			if e := reason.Of(err); errors.As(err, &wait) == over || (e != nil) != (tt.reason != "") || e != nil && (e.Reason != tt.reason || !strings.Contains(err.Error(), tt.says)) {
				t.Errorf("got %v", err)
			}
			if good := err == nil; good != (r.Status.Drill.RestoreMilliseconds == 42000) {
				t.Errorf("%v, and the recovery took %d ms", err, r.Status.Drill.RestoreMilliseconds)
			}
			if tt.change == nil && (r.Status.Drill.ScratchUID != "child-1" || (r.Status.Verification == nil) != (tt.v == nil)) {
				t.Errorf("%+v, %+v", r.Status.Drill, r.Status.Verification)
			}
		})
	}
	t.Run("it is made, and not again", func(t *testing.T) {
		r := restoreOf(drill(api.Drill{}), phase(api.PhaseScratch))
		b := newBench(t, r)
		var wait later
		if err := b.drilling(t.Context(), workOf(t, r)); !errors.As(err, &wait) {
			t.Fatal(err)
		}
		var child api.Restore
		if err := b.Client.Get(t.Context(), client.ObjectKey{Namespace: scratchName(r), Name: scratchChild}, &child); err != nil {
			t.Fatal(err)
		}
		if s := child.Spec; s.Scope != api.ScopeCouchDB || s.Verify != api.VerifySample || s.TimeToLive == nil || s.GoLive || s.Source.UID != "u1" || child.Annotations[api.ScratchForAnnotation] != target+"/r" {
			t.Errorf("%+v", child)
		}
		r.Status.Drill.ScratchUID = "child-1" // the fake API server gives no UIDs
		if err := b.Client.Delete(t.Context(), &child); err != nil {
			t.Fatal(err)
		}
		if e := reason.Of(b.drilling(t.Context(), workOf(t, r))); e == nil || e.Reason != api.ReasonDrillFailed {
			t.Errorf("deleted by somebody: %+v", e)
		}
		if left := b.there([]client.Object{&child}); len(left) > 0 {
			t.Errorf("it was made again: %v", left)
		}
	})
}

// Whatever befalls a drill on its way, it tears down and says why.
func TestDrillFails(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(*api.Restore)
		record bool
		want   string
	}{
		{"aborted", func(r *api.Restore) { r.Spec.Abort = true }, true, api.ReasonAborted},
		{"the backup is gone", func(*api.Restore) {}, false, api.ReasonBackupNotFound},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := restoreOf(drill(api.Drill{}), phase(api.PhaseScratch), tt.change, func(r *api.Restore) { r.Status.Record = "gone" })
			namespace, child := scratched(r, api.PhaseCouchDB, "", nil)
			b := newBench(t, r, namespace, child)
			got, err := b.reconcile()
			if err != nil || got.Status.Phase != api.PhaseTearingDown || got.Status.PendingReason != tt.want {
				t.Fatalf("%s, %s (%v)", got.Status.Phase, got.Status.PendingReason, err)
			}
			if got, err = b.reconcile(); err != nil || got.Status.Phase != api.PhaseFailed || ready(got).Reason != tt.want {
				t.Errorf("%s, %+v (%v)", got.Status.Phase, ready(got), err)
			}
			if left := b.there([]client.Object{namespace, child}); len(left) > 0 {
				t.Errorf("there is left %v", left)
			}
		})
	}
}

// Which failures are told on the Backup.
func TestTellBackup(t *testing.T) {
	for why, tells := range map[string]bool{api.ReasonShardsMissing: true, api.ReasonDrillFailed: true, api.ReasonNodeUnavailable: true, api.ReasonAborted: false, api.ReasonConcurrentOperation: false} {
		r := restoreOf(drill(api.Drill{}), phase(api.PhaseFailed))
		meta.SetStatusCondition(&r.Status.Conditions, metav1.Condition{Type: api.ConditionReady, Status: metav1.ConditionFalse, Reason: why, Message: "m"})
		for uid, same := range map[types.UID]bool{"u1": true, "u2": false} {
			b := newBench(t, &api.Backup{ObjectMeta: metav1.ObjectMeta{Namespace: source, Name: "nightly", UID: uid}})
			raised := events.NewFakeRecorder(10)
			b.Events = raised
			b.tellBackup(t.Context(), r)
			if n := len(raised.Events); n != map[bool]int{true: 1}[tells && same] {
				t.Errorf("%s of backup %s: %d events", why, uid, n)
			}
		}
	}
}

// Drills stand in the way of each other only.
func TestDrillsBeside(t *testing.T) {
	older := func(p api.Phase, change ...func(*api.Restore)) *api.Restore {
		return restoreOf(append([]func(*api.Restore){phase(p), func(r *api.Restore) {
			r.Name, r.UID, r.CreationTimestamp = "o", "restore-9", metav1.NewTime(epoch.Add(-time.Hour))
		}}, change...)...)
	}
	younger := func(r *api.Restore) { r.CreationTimestamp = metav1.NewTime(epoch.Add(time.Hour)) }
	running := &api.Backup{ObjectMeta: metav1.ObjectMeta{Namespace: target, Name: "b"}, Status: api.BackupStatus{Phase: api.PhaseCutting}}
	for _, tt := range []struct {
		name  string
		is    func(*api.Restore)
		there client.Object
		busy  bool
	}{
		{"a drill beside a drill", drill(api.Drill{}), older(api.PhaseScratch, drill(api.Drill{})), true},
		{"a drill beside one that tears down", drill(api.Drill{}), older(api.PhaseTearingDown, drill(api.Drill{})), true},
		{"a drill beside a younger one that has begun", drill(api.Drill{}), older(api.PhaseScratch, drill(api.Drill{}), younger), true},
		{"a drill beside a younger one that waits", drill(api.Drill{}), older(api.PhasePending, drill(api.Drill{}), younger), false},
		{"a drill beside one that has ended", drill(api.Drill{}), older(api.PhaseFailed, drill(api.Drill{})), false},
		{"a drill beside a restore in place", drill(api.Drill{}), older(api.PhaseSwapping, func(r *api.Restore) { r.Spec.InPlace = &api.InPlace{} }), false},
		{"a drill beside a backup", drill(api.Drill{}), running, false},
		{"a restore in place beside a drill", func(r *api.Restore) { r.Spec.InPlace = &api.InPlace{} }, older(api.PhaseScratch, drill(api.Drill{})), false},
		{"one database beside a drill", database(api.DatabaseRestore{Name: "medic"}), older(api.PhaseTearingDown, drill(api.Drill{})), false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := restoreOf(tt.is)
			err := newBench(t, r, tt.there).onlyOperation(t.Context(), r)
			if e := reason.Of(err); tt.busy != (e != nil && e.Reason == api.ReasonConcurrentOperation) || !tt.busy && err != nil {
				t.Errorf("got %v", err)
			}
		})
	}
}

// The scratch restore's verification names the drill, which stays.
func TestVerifiedNamesTheDrill(t *testing.T) {
	r := restoreOf(drill(api.Drill{}), phase(api.PhaseScratch))
	namespace, child := scratched(r, api.PhaseVerifying, "", nil)
	b := newBench(t, r, namespace, child, &api.Backup{ObjectMeta: metav1.ObjectMeta{Namespace: source, Name: "nightly", UID: "u1"}})
	w := workOf(t, child)
	if err := b.recordVerified(t.Context(), w, *proof(), nil); err != nil {
		t.Fatal(err)
	}
	var now api.Backup
	if err := b.Client.Get(t.Context(), client.ObjectKey{Namespace: source, Name: "nightly"}, &now); err != nil {
		t.Fatal(err)
	}
	p := now.Status.Verified
	if p == nil || p.Restore != target+"/r" || p.RestoreMilliseconds != 42000 || p.Databases != 3 || p.Shards != 36 || p.Documents != 700 || p.Sampled != 30 || !p.Time.Equal(proof().CompletionTime) {
		t.Errorf("%+v", p)
	}
	if c := meta.FindStatusCondition(now.Status.Conditions, api.ConditionVerified); c == nil || !strings.Contains(c.Message, "restore "+target+"/r verified it") {
		t.Errorf("%+v", c)
	}
	if got, err := b.onBehalf(t.Context(), child); err != nil || got != target {
		t.Errorf("the right of %s counts (%v)", got, err)
	}
}

// The plan tells of the scratch namespace, and every step has its part in it.
func TestDrillPlan(t *testing.T) {
	r := restoreOf(drill(keeping(time.Hour)))
	w := workOf(t, r)
	w.scratch = workOf(t, scratchRestore(r, w.record.UID))
	if got := Steps(r.Spec); !slices.Equal(got, []api.Phase{api.PhasePending, api.PhaseScratch, api.PhaseTearingDown}) {
		t.Errorf("%v", got)
	}
	text := fmt.Sprint(planDrilling(w), planTearingDown(w))
	for _, says := range []string{"create namespace " + scratchName(r), "claim couchdb-2-claim0", "snapshot h-couchdb-2", "verification Sample", "delete namespace " + scratchName(r), "keep it for 1h0m0s"} {
		if !strings.Contains(text, says) {
			t.Errorf("the plan does not say %q: %s", says, text)
		}
	}
}

// A volume without data speaks against the backup; a pod that could not work does not.
func TestBlankVolume(t *testing.T) {
	for said, blank := range map[string]bool{"Error: " + prepare.NoData + " at /volume/data of the volume (not a directory)": true, "Error: remove _dbs.couch: input/output error": false} {
		restore := restoreOf(phase(api.PhaseVolumes))
		w := workOf(t, restore)
		objects := []client.Object{&api.Backup{ObjectMeta: metav1.ObjectMeta{Namespace: source, Name: "nightly", UID: "u1"}}}
		for _, node := range w.volumes() {
			pod := w.preparePod(node, "image")
			pod.Status.Phase = corev1.PodFailed
			pod.Status.ContainerStatuses = []corev1.ContainerStatus{{State: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{ExitCode: 1, Message: said}}}}
			objects = append(objects, pod)
		}
		b := newBench(t, objects...)
		err := b.makeVolumes(t.Context(), w)
		if e := reason.Of(err); e == nil || e.Reason != api.ReasonPrepareFailed || !strings.Contains(err.Error(), said) {
			t.Errorf("got %v", err)
		}
		var now api.Backup
		if err := b.Client.Get(t.Context(), client.ObjectKey{Namespace: source, Name: "nightly"}, &now); err != nil {
			t.Fatal(err)
		}
		c := meta.FindStatusCondition(now.Status.Conditions, api.ConditionVerified)
		if blank != (c != nil && c.Status == metav1.ConditionFalse && c.Reason == api.ReasonPrepareFailed) || disproves(api.ReasonPrepareFailed, restore.Status.Verification) != blank {
			t.Errorf("%q: the Backup says %+v", said, c)
		}
	}
}
