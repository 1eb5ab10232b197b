package snapshot

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/events"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/snapshot/catalog"
	"github.com/medic/cht-backup/snapshot/queue"
	"github.com/medic/cht-backup/snapshot/reason"
	"github.com/medic/cht-backup/snapshot/served"
)

func TestBackupCompletes(t *testing.T) {
	b := newBench(t, append(instance(), backup())...)
	got := b.run()
	s := got.Status
	if s.Phase != api.PhaseCompleted || ready(got).Status != metav1.ConditionTrue || ready(got).Reason != api.ReasonCompleted {
		t.Fatalf("ended %s: %+v", s.Phase, ready(got))
	}
	if s.Attempt != 1 || s.Nodes != 1 || s.Databases != 1 || s.Consistency != api.CrashConsistent || s.QuiesceMode != api.QuiesceNone || *s.StallMilliseconds != 0 ||
		!s.CutTime.Time.Equal(epoch.Add(time.Second)) || s.CompletionTime == nil || s.Timeline.Ready == nil {
		t.Errorf("status %+v", s)
	}
	if s.Documents == nil || *s.Documents != 7 || s.DataBytes == nil || *s.DataBytes != 98_765 {
		t.Errorf("documents %v, bytes %v", s.Documents, s.DataBytes)
	}
	if b.snaps.kept != 1 || b.snaps.done != 1 || b.snaps.discards != 0 {
		t.Errorf("snapshotter %+v", b.snaps)
	}
	r, err := b.Records.Get(t.Context(), s.Record)
	if err != nil || r.UID != got.UID || r.CouchDB != "3.5.2" || r.Nodes[0].SnapshotHandle != "h" || r.Before.Counts["medic"].Documents != 7 || len(r.Objects) == 0 {
		t.Errorf("record %+v, %v", r, err)
	}
	heads, err := b.Records.List(t.Context(), ns)
	if err != nil || len(heads) != 1 || heads[0].AllowedNamespaces[0] != "clone" {
		t.Errorf("heads %+v, %v", heads, err)
	}
	// Final is final.
	if again, wait, err := b.reconcile(); err != nil || wait != 0 || again.ResourceVersion != got.ResourceVersion || b.snaps.prepared != 1 {
		t.Errorf("a completed backup was worked on again: %v %v", wait, err)
	}
}

// What a controller finds that starts anew.
func TestInterruptedAttempts(t *testing.T) {
	for _, tt := range []struct {
		name    string
		phase   api.Phase
		attempt int32
		want    api.Phase // in the end
		reason  string
		cuts    int
	}{
		{"while preparing", api.PhasePreparing, 1, api.PhaseCompleted, api.ReasonCompleted, 1},
		{"while cutting", api.PhaseCutting, 1, api.PhaseCompleted, api.ReasonCompleted, 1},
		{"while cutting, the last attempt", api.PhaseCutting, 3, api.PhaseFailed, api.ReasonInterrupted, 0},
		{"while cleaning up for a retry", api.PhaseCleaningUp, 1, api.PhaseCompleted, api.ReasonCompleted, 1},
		{"before anything", api.PhasePending, 0, api.PhaseCompleted, api.ReasonCompleted, 1},
		{"a phase of another version", "Copying", 1, api.PhaseFailed, api.ReasonInterrupted, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := newBench(t, append(instance(), backup(in(tt.phase, tt.attempt)))...)
			got := b.run()
			if got.Status.Phase != tt.want || ready(got).Reason != tt.reason || b.snaps.cuts != tt.cuts {
				t.Errorf("ended %s, %+v, after %d cuts", got.Status.Phase, ready(got), b.snaps.cuts)
			}
			if strings.HasPrefix(tt.name, "while") && b.snaps.discards == 0 {
				t.Error("what the interrupted attempt may have made was not removed")
			}
		})
	}
}

func TestFailuresAreRetriedOrNot(t *testing.T) {
	final := reason.Refuse(api.ReasonStallExceeded, "too slow")
	passing := reason.Failed(api.ReasonSnapshotFailed, "throttled")
	tests := []struct {
		name    string
		arrange func(b *bench)
		change  func(*api.Backup)
		want    api.Phase
		reason  string
		text    string
		attempt int32
		cuts    int
	}{
		{name: "a cut fails once", arrange: func(b *bench) { b.snaps.cutErr, b.snaps.failFirst = passing, 1 }, want: api.PhaseCompleted, reason: api.ReasonCompleted, attempt: 2, cuts: 2},
		{name: "every cut fails", arrange: func(b *bench) { b.snaps.cutErr = passing }, want: api.PhaseFailed, reason: api.ReasonSnapshotFailed, text: "throttled", attempt: 3, cuts: 3},
		{name: "one attempt allowed", arrange: func(b *bench) { b.snaps.cutErr = passing }, change: func(b *api.Backup) { b.Spec.Attempts = 1 },
			want: api.PhaseFailed, reason: api.ReasonSnapshotFailed, attempt: 1, cuts: 1},
		{name: "a final failure", arrange: func(b *bench) { b.snaps.cutErr = final }, want: api.PhaseFailed, reason: api.ReasonStallExceeded, text: "too slow", attempt: 1, cuts: 1},
		{name: "an error without a reason in the middle", arrange: func(b *bench) { b.snaps.cutErr = errors.New("connection reset"); b.snaps.failFirst = 1 },
			want: api.PhaseCompleted, reason: api.ReasonCompleted, attempt: 2, cuts: 2},
		{name: "no class", arrange: func(b *bench) { b.snaps.prepareErr = reason.Refuse(api.ReasonNoSnapshotClass, "none") },
			want: api.PhaseFailed, reason: api.ReasonNoSnapshotClass, attempt: 1},
		{name: "wrong password", arrange: func(b *bench) { b.couch.status = 401 }, want: api.PhaseFailed, reason: api.ReasonCredentials, attempt: 1},
		{name: "CouchDB is down", arrange: func(b *bench) { b.couch.status = 503 }, want: api.PhaseFailed, reason: api.ReasonCouchDBUnavailable, attempt: 3},
		{name: "maintenance mode", arrange: func(b *bench) { b.couch.maintenance = true }, want: api.PhaseFailed, reason: api.ReasonCouchDBUnavailable, text: "maintenance", attempt: 1},
		{name: "a member without a pod", arrange: func(b *bench) { b.couch.members = []string{"couchdb@127.0.0.1", "couchdb@x"} },
			want: api.PhaseFailed, reason: api.ReasonInstanceIncomplete, text: "couchdb@x", attempt: 1},
		{name: "no databases", arrange: func(b *bench) { b.couch.noDatabases = true }, want: api.PhaseFailed, reason: api.ReasonInstanceIncomplete, attempt: 1},
		{name: "the storage fails after the cut", arrange: func(b *bench) { b.snaps.refreshErr = reason.Failed(api.ReasonSnapshotFailed, "upload failed") },
			want: api.PhaseFailed, reason: api.ReasonSnapshotFailed, text: "upload failed", attempt: 1, cuts: 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if tt.change == nil {
				tt.change = func(*api.Backup) {}
			}
			b := newBench(t, append(instance(), backup(tt.change))...)
			tt.arrange(b)
			got := b.run()
			c := ready(got)
			if got.Status.Phase != tt.want || c.Reason != tt.reason || !strings.Contains(c.Message, tt.text) || got.Status.Attempt != tt.attempt || b.snaps.cuts != tt.cuts {
				t.Errorf("ended %s, %s: %s, attempt %d, %d cuts", got.Status.Phase, c.Reason, c.Message, got.Status.Attempt, b.snaps.cuts)
			}
			if got.Status.PendingReason != "" || got.Status.PendingMessage != "" {
				t.Errorf("left pending: %s %s", got.Status.PendingReason, got.Status.PendingMessage)
			}
			if b.snaps.prepareErr == nil && b.snaps.done != b.snaps.prepared {
				t.Errorf("%d of %d preparations were closed", b.snaps.done, b.snaps.prepared)
			}
			heads, err := b.Records.List(t.Context(), "")
			if err != nil || tt.want == api.PhaseFailed && (len(heads) != 0 || len(got.Status.Volumes) != 0 || got.Status.Record != "" || c.Status != metav1.ConditionFalse) {
				t.Errorf("a failed backup left %v %+v %v", heads, got.Status, err)
			}
		})
	}
}

func TestAPIServerHiccupChangesNothing(t *testing.T) {
	b := newBench(t, backup(in(api.PhaseFinishing, 1), func(b *api.Backup) {
		b.Status.Volumes = []api.VolumeStatus{{Node: "couchdb"}}
		b.Status.Timeline = &api.Timeline{Released: metav1.NewMicroTime(epoch)}
	}))
	b.snaps.refreshErr = errors.New("etcd is slow")
	got, _, err := b.reconcile()
	if err == nil || got.Status.Phase != api.PhaseFinishing || b.snaps.discards != 0 {
		t.Errorf("%v, phase %s", err, got.Status.Phase)
	}
}

func TestReadyTimeout(t *testing.T) {
	b := newBench(t, append(instance(), backup())...)
	b.snaps.neverReady = true
	b.now = time.Now().Add(100 * time.Hour) // the wait begins by the clock that it ends by
	var wait time.Duration
	for range 3 {
		_, wait, _ = b.reconcile()
	}
	if got, _, _ := b.reconcile(); got.Status.Phase != api.PhaseFinishing || wait <= 0 || b.snaps.kept != 0 {
		t.Fatalf("phase %s, again in %s", got.Status.Phase, wait)
	}
	b.now = b.now.Add(time.Hour + time.Minute)
	if got := b.run(); got.Status.Phase != api.PhaseFailed || ready(got).Reason != api.ReasonReadyTimeout || got.Status.Attempt != 1 || b.snaps.discards == 0 {
		t.Errorf("ended %s %+v", got.Status.Phase, ready(got))
	}
}

// A clean-up that a driver holds up stays in sight, and gives its reason in the end.
func TestCleanUpWaits(t *testing.T) {
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "freezer", Namespace: ns, Labels: map[string]string{api.BackupUIDLabel: "uid-5", api.RoleLabel: RoleFreezer}}}
	theirs := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "theirs", Namespace: ns, Labels: map[string]string{api.BackupUIDLabel: "uid-6", api.RoleLabel: RoleFreezer}}}
	b := newBench(t, pod, theirs, backup(in(api.PhaseCleaningUp, 1), func(b *api.Backup) {
		b.Status.PendingReason, b.Status.PendingMessage = api.ReasonStallExceeded, "too slow"
	}))
	b.snaps.stuck = 2
	for i := range 2 {
		if got, wait, err := b.reconcile(); err != nil || got.Status.Phase != api.PhaseCleaningUp || wait != stillThere {
			t.Fatalf("turn %d: %s %s %v", i, got.Status.Phase, wait, err)
		}
	}
	if got, _, _ := b.reconcile(); got.Status.Phase != api.PhaseFailed || ready(got).Reason != api.ReasonStallExceeded || ready(got).Message != "too slow" {
		t.Errorf("%s %+v", got.Status.Phase, ready(got))
	}
	if err := b.objects.Get(t.Context(), client.ObjectKeyFromObject(pod), pod); !apierrors.IsNotFound(err) {
		t.Errorf("the freezer pod is still there: %v", err)
	}
	if err := b.objects.Get(t.Context(), client.ObjectKeyFromObject(theirs), theirs); err != nil {
		t.Errorf("another backup's freezer: %v", err)
	}
}

// Both containers of a freezer pod were killed while it held: until one runs again, and
// has thawed, the pod must stay. A machine that is gone holds nothing up for ever.
func TestCleanUpThawsFirst(t *testing.T) {
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "freezer", Namespace: ns, Labels: map[string]string{api.BackupUIDLabel: "uid-5", api.RoleLabel: RoleFreezer}},
		Status: corev1.PodStatus{Phase: corev1.PodRunning}}
	there := func(b *bench) bool {
		return b.objects.Get(b.t.Context(), client.ObjectKeyFromObject(pod), &corev1.Pod{}) == nil
	}
	for _, tt := range []struct {
		name string
		then func(*bench)
	}{
		{"kubelet starts it again", func(b *bench) { b.runErr = nil }},
		{"its machine is gone", func(b *bench) { b.now = b.now.Add(thawPatience + time.Second) }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := newBench(t, pod.DeepCopy(), backup(in(api.PhaseCleaningUp, 1), func(b *api.Backup) {
				b.Status.PendingReason, b.Status.PendingMessage = api.ReasonQuiesceLost, "couchdb: the stream ended"
			}))
			b.runErr = errors.New("container not running")
			for range 3 {
				got, _, err := b.reconcile()
				if err == nil || !there(b) || got.Status.Phase != api.PhaseCleaningUp || !strings.Contains(ready(got).Message, "may be frozen") {
					t.Fatalf("phase %s, %v, %s; the pod is there: %v", got.Status.Phase, err, ready(got).Message, there(b))
				}
			}
			tt.then(b)
			if got := b.run(); got.Status.Phase != api.PhaseFailed || ready(got).Message != "couchdb: the stream ended" || there(b) {
				t.Errorf("phase %s, %s; the pod is there: %v", got.Status.Phase, ready(got).Message, there(b))
			}
			if want := "freezer: /cht-backup freezer thaw"; b.ran[0] != want {
				t.Errorf("%q was run", b.ran)
			}
		})
	}
}

// neighbour is another backup of the same namespace.
func neighbour(name string, uid types.UID, created time.Duration, phase api.Phase) *api.Backup {
	o := backup(in(phase, 1))
	o.Name, o.UID, o.CreationTimestamp = name, uid, metav1.NewTime(epoch.Add(created))
	return o
}

func TestAdmit(t *testing.T) {
	restore := func(phase api.Phase) *api.Restore {
		return &api.Restore{ObjectMeta: metav1.ObjectMeta{Name: "r", Namespace: ns}, Status: api.RestoreStatus{Phase: phase}}
	}
	drill := func(phase api.Phase) *api.Restore {
		r := restore(phase)
		r.Spec.Drill = &api.Drill{}
		return r
	}
	for _, tt := range []struct {
		name string
		with client.Object
		busy bool
	}{
		{"an older one is under way", neighbour("a", "uid-9", -time.Hour, api.PhaseCutting), true},
		{"an older one has not begun", neighbour("a", "uid-9", -time.Hour, ""), true},
		{"an older one is cleaning up", neighbour("a", "uid-9", -time.Hour, api.PhaseCleaningUp), true},
		{"an older one is complete", neighbour("a", "uid-9", -time.Hour, api.PhaseCompleted), false},
		{"an older one failed", neighbour("a", "uid-9", -time.Hour, api.PhaseFailed), false},
		{"a younger one waits for us", neighbour("a", "uid-1", time.Hour, api.PhasePending), false},
		{"of the same second, the lesser UID goes on", neighbour("a", "uid-1", 0, api.PhasePending), true},
		{"of the same second, and ours is less", neighbour("a", "uid-9", 0, api.PhasePending), false},
		{"a restore is under way", restore(api.PhaseVolumes), true},
		{"a restore has not begun", restore(""), true},
		{"a restore is complete", restore(api.PhaseCompleted), false},
		{"a drill has not begun", drill(""), false},
		{"a drill is under way", drill(api.PhaseScratch), false},
		{"a drill tears down", drill(api.PhaseTearingDown), false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := newBench(t, append(instance(), backup(), tt.with)...)
			got := b.run()
			if tt.busy != (got.Status.Phase == api.PhaseFailed) || tt.busy != (ready(got).Reason == api.ReasonConcurrentOperation) {
				t.Errorf("ended %s, %+v", got.Status.Phase, ready(got))
			}
			if tt.busy && (b.snaps.prepared != 0 || got.Status.Attempt != 0) {
				t.Error("refused, but not before work began")
			}
		})
	}
}

func TestDeletion(t *testing.T) {
	terminating := func() *corev1.Namespace {
		now := metav1.NewTime(epoch)
		return &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: ns, DeletionTimestamp: &now, Finalizers: []string{"kubernetes"}}}
	}
	alive := func() *corev1.Namespace { return &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: ns}} }
	retaining := func(b *api.Backup) { b.Spec.DeletionPolicy = api.DeletionRetain }
	for _, tt := range []struct {
		name      string
		namespace *corev1.Namespace
		phase     api.Phase
		noRecord  bool
		keeps     bool
		change    func(*api.Backup)
	}{
		{"a completed backup", alive(), api.PhaseCompleted, false, false, nil},
		{"a failed backup", alive(), api.PhaseFailed, false, false, nil},
		{"a backup in its middle", alive(), api.PhaseFinishing, false, false, nil},
		{"its whole namespace", terminating(), api.PhaseCompleted, false, true, nil},
		{"its whole namespace, and the record is gone already", terminating(), api.PhaseCompleted, true, true, nil},
		{"its whole namespace, before it was complete", terminating(), api.PhaseFinishing, false, false, nil},
		{"to be retained", alive(), api.PhaseCompleted, false, true, retaining},
		{"to be retained, and the record is gone already", alive(), api.PhaseCompleted, true, true, retaining},
		{"to be retained, but failed", alive(), api.PhaseFailed, false, false, retaining},
		{"to be retained, in its middle", alive(), api.PhaseFinishing, false, false, retaining},
		{"held", alive(), api.PhaseCompleted, false, true, func(b *api.Backup) { b.Annotations = map[string]string{api.HoldAnnotation: "for the auditor"} }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			old := backup(in(tt.phase, 1))
			old.Status.Volumes = []api.VolumeStatus{{Node: "couchdb", Handle: "snap-1", Content: "c"}}
			if tt.change != nil {
				tt.change(old)
			}
			b := newBench(t, tt.namespace, old)
			head, err := b.Records.Put(t.Context(), catalog.Record{Namespace: ns, Name: old.Name, UID: old.UID}, nil)
			if err != nil {
				t.Fatal(err)
			}
			old.Status.Record = head
			if err := b.save(t.Context(), old); err != nil {
				t.Fatal(err)
			}
			if tt.noRecord {
				if err := b.Records.Delete(t.Context(), old.UID); err != nil {
					t.Fatal(err)
				}
			}
			if err := b.objects.Delete(t.Context(), old); err != nil {
				t.Fatal(err)
			}
			b.snaps.stuck = 1 // the storage takes its time
			gone := false
			for range 3 {
				got, _, err := b.reconcile()
				if err != nil {
					t.Fatal(err)
				}
				if gone = got.Name == ""; gone {
					break
				}
				if !tt.keeps && b.snaps.discards == 0 {
					t.Fatal("neither gone nor discarded")
				}
			}
			if !gone {
				t.Fatal("the finalizer is never lifted")
			}
			if tt.keeps != (b.snaps.discards == 0) || tt.keeps != (b.snaps.kept == 1) {
				t.Errorf("%d discards, %d kept", b.snaps.discards, b.snaps.kept)
			}
			if said := told(b); tt.keeps != strings.Contains(said, "stay in the storage: snap-1;") || tt.keeps != strings.Contains(said, "kubectl cht delete backup nightly -n "+ns+" --uid uid-5") {
				t.Errorf("events: %s", said)
			}
			heads, err := b.Records.List(t.Context(), ns)
			if err != nil || (len(heads) == 1) != (tt.keeps && !tt.noRecord) {
				t.Fatalf("records %+v, %v", heads, err)
			}
			if len(heads) == 1 && (len(heads[0].AllowedNamespaces) != 1 || heads[0].AllowedNamespaces[0] != "clone") {
				t.Errorf("the kept record allows %v", heads[0].AllowedNamespaces)
			}
			if len(heads) == 1 && heads[0].Hold != old.Annotations[api.HoldAnnotation] {
				t.Errorf("the kept record is held for %q", heads[0].Hold)
			}
		})
	}
}

// told gives the events that were raised.
func told(b *bench) string {
	var said []string
	for {
		select {
		case e := <-b.Events.(*events.FakeRecorder).Events:
			said = append(said, e)
		default:
			return strings.Join(said, "\n")
		}
	}
}

// What Retain leaves is left even if somebody took a part of it away; only what
// the API server refuses for the moment is tried again.
func TestRetainAfterAFailure(t *testing.T) {
	for _, tt := range []struct {
		name string
		err  error
		says string
		gone bool
	}{
		{"a content deleted by hand", fmt.Errorf("get content c: %w", apierrors.NewNotFound(schema.GroupResource{Resource: "volumesnapshotcontents"}, "c")), "snap-1 (its VolumeSnapshotContent c is gone)", true},
		{"a content that is another's", reason.Refuse(api.ReasonSnapshotFailed, "bound to x/y"), "snap-1 (its VolumeSnapshotContent c is gone)", true},
		{"the API server hiccups", errors.New("etcd is slow"), "", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			old := backup(in(api.PhaseCompleted, 1), func(b *api.Backup) {
				b.Spec.DeletionPolicy, b.Status.Volumes = api.DeletionRetain, []api.VolumeStatus{{Node: "couchdb", Handle: "snap-1", Content: "c"}}
			})
			b := newBench(t, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: ns}}, old)
			b.snaps.keepErr = tt.err
			if err := b.objects.Delete(t.Context(), old); err != nil {
				t.Fatal(err)
			}
			got, _, err := b.reconcile()
			if gone := got.Name == ""; gone != tt.gone || (err == nil) != tt.gone || b.snaps.discards > 0 {
				t.Errorf("gone %v, %v, %d discards", gone, err, b.snaps.discards)
			}
			if said := told(b); !strings.Contains(said, tt.says) {
				t.Errorf("events: %s", said)
			}
		})
	}
}

// Killed between the snapshots and the record, the next turn removes the record.
func TestDeletionAfterAFailure(t *testing.T) {
	old := backup(in(api.PhaseCompleted, 1))
	b := newBench(t, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: ns}}, old)
	if _, err := b.Records.Put(t.Context(), catalog.Record{Namespace: ns, Name: old.Name, UID: old.UID}, nil); err != nil {
		t.Fatal(err)
	}
	if err := b.objects.Delete(t.Context(), old); err != nil {
		t.Fatal(err)
	}
	refuse := true
	b.Records.Client = interceptor.NewClient(b.objects, interceptor.Funcs{Delete: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.DeleteOption) error {
		if refuse {
			return errors.New("etcd is slow")
		}
		return c.Delete(ctx, o, opts...)
	}})
	if got, _, err := b.reconcile(); err == nil || got.Name == "" || b.snaps.discards != 1 {
		t.Fatalf("%v, %d discards: the finalizer must stay until the record is gone", err, b.snaps.discards)
	}
	refuse = false
	if got, _, err := b.reconcile(); err != nil || got.Name != "" {
		t.Errorf("%v, %q is still there", err, got.Name)
	}
	if heads, err := b.Records.List(t.Context(), ns); err != nil || len(heads) > 0 {
		t.Errorf("records %v, %v", heads, err)
	}
}

// A cut that cannot be marked at once is not thrown away for it.
func TestMarkFails(t *testing.T) {
	b := newBench(t, append(instance(), backup())...)
	b.snaps.markErr = errors.New("etcd is slow")
	if got := b.run(); got.Status.Phase != api.PhaseCompleted || got.Status.Attempt != 1 || b.snaps.marked != 1 || b.snaps.kept != 1 {
		t.Errorf("%s after %d attempts, %d marked, %d kept", got.Status.Phase, got.Status.Attempt, b.snaps.marked, b.snaps.kept)
	}
}

// What is in another controller's line takes no place in this one's.
func TestLineOfServed(t *testing.T) {
	other := backup(in(api.PhaseFinishing, 1))
	other.Namespace, other.UID = "other", "uid-other"
	other.Status.Volumes = []api.VolumeStatus{{Driver: "d"}}
	b := newBench(t, append(instance(), backup(), other)...)
	b.Parallel = queue.Limits{Cluster: 8, Driver: 1}
	b.Served = served.New(b.objects, home, "cht-backup", []string{ns}, func() time.Time { return b.now })
	b.Served.Round(t.Context())
	if got, _, err := b.reconcile(); err != nil || got.Status.Phase != api.PhaseFinishing {
		t.Errorf("%s, %v: %+v", got.Status.Phase, err, got.Status.Conditions)
	}
}
