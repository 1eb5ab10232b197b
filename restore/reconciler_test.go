package restore

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	snapv1 "github.com/kubernetes-csi/external-snapshotter/client/v8/apis/volumesnapshot/v1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/snapshot/cht"
	"github.com/medic/cht-backup/snapshot/reason"
)

// made is everything a restore may have made, and beside it what is not its own.
func made() (mine, theirs []client.Object) {
	one := int32(1)
	deployment := func(service string) *appsv1.Deployment {
		d := &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Namespace: target, Name: "cht-" + service}, Spec: appsv1.DeploymentSpec{Replicas: &one}}
		d.Spec.Template.Labels = map[string]string{cht.ServiceLabel: service}
		return d
	}
	m := func(name string) metav1.ObjectMeta { return metav1.ObjectMeta{Namespace: target, Name: name} }
	pod := ours(&corev1.Pod{ObjectMeta: m("prepare")})
	pod.Labels[api.RoleLabel] = rolePrepare
	imports := ours(&snapv1.VolumeSnapshotContent{ObjectMeta: metav1.ObjectMeta{Name: "import"}})
	mine = []client.Object{ours(deployment("couchdb-1")), ours(deployment("api")), ours(deployment("sentinel")), ours(&corev1.Secret{ObjectMeta: m("cht-couchdb-credentials")}),
		ours(&corev1.PersistentVolumeClaim{ObjectMeta: m("couchdb-1-claim0")}), ours(&networkingv1.NetworkPolicy{ObjectMeta: m(isolationName)}), pod,
		ours(&snapv1.VolumeSnapshot{ObjectMeta: m("import")}), imports}
	foreign := deployment("theirs")
	foreign.Labels = map[string]string{api.RestoreUIDLabel: "restore-6"}
	theirs = []client.Object{foreign, &corev1.Secret{ObjectMeta: m("by-hand")}, &corev1.PersistentVolumeClaim{ObjectMeta: m("other-claim")},
		&networkingv1.NetworkPolicy{ObjectMeta: m("other-policy")}, &snapv1.VolumeSnapshotContent{ObjectMeta: metav1.ObjectMeta{Name: "the-backups-own"}},
		&corev1.Pod{ObjectMeta: m("other-pod")}}
	return mine, theirs
}

// there lists which of the objects are still stored.
func (b *bench) there(objects []client.Object) (names []string) {
	b.t.Helper()
	for _, o := range objects {
		err := b.Client.Get(b.t.Context(), client.ObjectKeyFromObject(o), o.DeepCopyObject().(client.Object))
		if err == nil {
			names = append(names, fmt.Sprintf("%T %s", o, o.GetName()))
		} else if !apierrors.IsNotFound(err) {
			b.t.Fatal(err)
		}
	}
	return names
}

func (b *bench) replicas(name string) int32 {
	b.t.Helper()
	var d appsv1.Deployment
	if err := b.Client.Get(b.t.Context(), client.ObjectKey{Namespace: target, Name: name}, &d); err != nil {
		b.t.Fatal(err)
	}
	return *d.Spec.Replicas
}

func TestFailed(t *testing.T) {
	final := reason.Refuse(api.ReasonVerificationFailed, "documents are missing")
	late := time.Hour
	for _, tt := range []struct {
		name   string
		phase  api.Phase
		err    error
		spent  time.Duration
		reason string // of the failure; "" when the restore goes on
		again  bool   // the error is given back, to be tried again
		undone bool
		held   string // which deployments are at 0
	}{
		{name: "refused before anything was made", phase: api.PhasePending, err: final, reason: api.ReasonVerificationFailed},
		{name: "while the volumes are made", phase: api.PhaseVolumes, err: final, reason: api.ReasonVerificationFailed, undone: true},
		{name: "while the objects are made", phase: api.PhaseObjects, err: final, reason: api.ReasonVerificationFailed, undone: true},
		{name: "CouchDB is left for a look", phase: api.PhaseCouchDB, err: final, reason: api.ReasonVerificationFailed, held: "api sentinel"},
		{name: "while starting", phase: api.PhaseStarting, err: final, reason: api.ReasonVerificationFailed, held: "api sentinel"},
		{name: "about to join its source", phase: api.PhaseCouchDB, err: reason.Refuse(api.ReasonForeignMember, "knows couchdb@prod"), reason: api.ReasonForeignMember, held: "api couchdb-1 sentinel"},
		{name: "the API server hiccups", phase: api.PhaseVolumes, err: errors.New("etcd is slow"), again: true},
		{name: "a turn is over", phase: api.PhaseVolumes, err: fmt.Errorf("waiting for a pod: %w", context.DeadlineExceeded)},
		{name: "not yet", phase: api.PhaseCouchDB, err: notYet{errors.New("no answer")}},
		{name: "not yet, of a refusal that time heals", phase: api.PhaseCouchDB, err: fmt.Errorf("connect: %w", notYet{reason.Refuse(api.ReasonPodNotReady, "not ready")})},
		{name: "the turns have used up the step's time", phase: api.PhaseVolumes, err: fmt.Errorf("waiting for a pod: %w", context.DeadlineExceeded), spent: late, reason: api.ReasonStartTimeout, undone: true},
		{name: "not yet, for too long", phase: api.PhaseCouchDB, err: notYet{reason.Refuse(api.ReasonPodNotReady, "not ready")}, spent: late, reason: api.ReasonStartTimeout, held: "api sentinel"},
		{name: "going back, a turn is over", phase: api.PhaseRollingBack, err: fmt.Errorf("waiting for a pod: %w", context.DeadlineExceeded), spent: late},
		{name: "going back never ends in a half", phase: api.PhaseRollingBack, err: errors.New("volume pv-1 is gone"), spent: late, again: true},
		{name: "going back, hindered", phase: api.PhaseRollingBack, err: reason.Refuse(api.ReasonInstanceIncomplete, "couchdb-2 is gone"), again: true},
		{name: "hiccups for too long", phase: api.PhaseObjects, err: errors.New("etcd is slow"), spent: late, reason: api.ReasonStartTimeout, undone: true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			mine, theirs := made()
			restore := restoreOf(phase(tt.phase))
			b := newBench(t, append(append(mine, theirs...), restore)...)
			b.now = epoch.Add(tt.spent)
			err := b.failed(t.Context(), restore, tt.err)
			if tt.again != (err != nil) {
				t.Errorf("gave back %v", err)
			}
			c := ready(restore)
			if tt.reason == "" {
				if restore.Status.Phase != tt.phase || c.Status == metav1.ConditionFalse || len(b.there(mine)) != len(mine) {
					t.Errorf("phase %s, %+v", restore.Status.Phase, c)
				}
				return
			}
			if restore.Status.Phase != api.PhaseFailed || c.Status != metav1.ConditionFalse || c.Reason != tt.reason || !strings.Contains(c.Message, tt.err.Error()) || restore.Status.CompletionTime == nil {
				t.Errorf("phase %s, %+v", restore.Status.Phase, c)
			}
			if left := b.there(mine); tt.undone != (len(left) == 0) || !tt.undone && len(left) != len(mine) {
				t.Errorf("left are %v", left)
			}
			if left := b.there(theirs); len(left) != len(theirs) || b.replicas("cht-theirs") != 1 {
				t.Errorf("of what is not ours there is left %v", left)
			}
			if tt.undone {
				return
			}
			for _, service := range []string{"api", "couchdb-1", "sentinel"} {
				if held := b.replicas("cht-"+service) == 0; held != strings.Contains(tt.held, service) {
					t.Errorf("%s at 0: %v", service, held)
				}
			}
		})
	}
}

func TestRemove(t *testing.T) {
	for _, tt := range []struct {
		phase api.Phase
		keeps bool
	}{
		{api.PhaseCompleted, true}, {api.PhaseFailed, false}, {api.PhaseVolumes, false}, {api.PhaseStarting, false}, {"", false},
	} {
		t.Run("phase "+string(tt.phase), func(t *testing.T) {
			mine, theirs := made()
			mine = append(mine, volume("pv-2", "couchdb-2-claim0", corev1.PersistentVolumeReclaimRetain, func(v *corev1.PersistentVolume) { v.Status.Phase = corev1.VolumeReleased }))
			restore := restoreOf(phase(tt.phase))
			b := newBench(t, append(append(mine, theirs...), restore)...)
			if err := b.Client.Delete(t.Context(), restore); err != nil {
				t.Fatal(err)
			}
			if stored, err := b.reconcile(); err != nil || stored != nil {
				t.Fatalf("%+v, %v", stored, err)
			}
			if err := b.driver(t.Context(), b.Client); err != nil {
				t.Fatal(err)
			}
			imports, instance := mine[6:9], append(mine[:6:6], mine[9])
			if left := b.there(imports); len(left) != 0 {
				t.Errorf("of the import there is left %v", left)
			}
			if left := b.there(instance); tt.keeps && len(left) != len(instance) || !tt.keeps && len(left) != 0 {
				t.Errorf("of the instance there is left %v", left)
			}
			if left := b.there(theirs); len(left) != len(theirs) {
				t.Errorf("of what is not ours there is left %v", left)
			}
		})
	}
}

// Up to the claims, through Reconcile.
func TestReconcileFirstSteps(t *testing.T) {
	restore := restoreOf()
	restore.Finalizers = nil
	b := newBench(t, restore, gp3())
	b.put("u1", target)
	got, err := b.reconcile()
	if err != nil || got.Status.Phase != api.PhasePending || len(got.Finalizers) != 1 || got.Status.StartTime == nil {
		t.Fatalf("%+v, %v", got, err)
	}
	got, err = b.reconcile()
	if err != nil || got.Status.Phase != api.PhaseVolumes || got.Status.BackupUID != "u1" || got.Status.Record == "" || len(got.Status.Volumes) != 2 || !got.Status.CutTime.Time.Equal(epoch) || got.Status.PhaseTime == nil {
		t.Fatalf("%+v, %v", got.Status, err)
	}
	var claims corev1.PersistentVolumeClaimList
	if err := b.Client.List(t.Context(), &claims); err != nil || len(claims.Items) != 0 {
		t.Errorf("made before the namespace was closed: %v %v", claims.Items, err)
	}
}

func TestReconcileRefuses(t *testing.T) {
	for _, tt := range []struct {
		name    string
		arrange func(b *bench)
		reason  string
	}{
		{"no record", func(*bench) {}, api.ReasonBackupNotFound},
		{"not allowed", func(b *bench) { b.put("u1", "elsewhere") }, api.ReasonNotAllowed},
		{"no storage class", func(b *bench) { b.put("u1", target) }, api.ReasonStorageClassMissing},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := newBench(t, restoreOf(phase(api.PhasePending)))
			tt.arrange(b)
			got, err := b.reconcile()
			if err != nil || got.Status.Phase != api.PhaseFailed || ready(got).Reason != tt.reason {
				t.Errorf("%s %+v, %v", got.Status.Phase, ready(got), err)
			}
			before := got.ResourceVersion
			if again, err := b.reconcile(); err != nil || again.ResourceVersion != before {
				t.Errorf("worked on after the end: %v", err)
			}
		})
	}
}
