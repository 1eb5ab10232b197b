package command

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	snapv1 "github.com/kubernetes-csi/external-snapshotter/client/v8/apis/volumesnapshot/v1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/cmd/kubectl-cht/internal/exit"
)

// leftoversAlone leaves out what would fail at night, which this cluster is not fit for.
const leftoversAlone = "Controller,Progress,Leftovers"

const lost types.UID = "22222222-bbbb"

// aged makes objects that are there since an hour.
func aged(objects ...client.Object) []client.Object {
	for _, o := range objects {
		o.SetCreationTimestamp(metav1.NewTime(noon.Add(-time.Hour)))
		if o.GetUID() == "" {
			o.SetUID(types.UID("uid-" + o.GetName()))
		}
	}
	return objects
}

func snapshotOf(backup string, uid types.UID, node string) *snapv1.VolumeSnapshot {
	c := contentOf(backup, uid, node)
	return &snapv1.VolumeSnapshot{ObjectMeta: metav1.ObjectMeta{Namespace: "medic", Name: c.Spec.VolumeSnapshotRef.Name, UID: c.Spec.VolumeSnapshotRef.UID, Labels: c.Labels}}
}

// inhabited is a cluster with a controller, a living backup and a record.
func inhabited(t *testing.T) []client.Object {
	controller := &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Namespace: system, Name: "cht-backup", Labels: map[string]string{"app.kubernetes.io/name": "cht-backup"}}, Status: appsv1.DeploymentStatus{AvailableReplicas: 1}}
	claim := &corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{Namespace: "medic", Name: "couchdb-claim0", Labels: map[string]string{api.RestoreUIDLabel: string(lost)}}}
	couchdb := &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Namespace: "medic", Name: "couchdb"}}
	couchdb.Spec.Template.Spec.Volumes = []corev1.Volume{{Name: "v", VolumeSource: corev1.VolumeSource{PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: claim.Name}}}}
	aside := &corev1.PersistentVolume{ObjectMeta: metav1.ObjectMeta{Name: "aside", Labels: map[string]string{api.SetAsideLabel: "u"}, Annotations: map[string]string{api.SetAsideClaimAnnotation: "medic/couchdb-claim0"}}}
	return aged(controller, claim, couchdb, aside, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "medic"}}, backupIn(api.PhaseCompleted, "11111111-bbbb"),
		recordOf(t, "medic", "nightly", "11111111-bbbb", noon), recordOf(t, "medic", "old", "33333333-bbbb", noon), restoreIn("medic", "r"),
		snapshotOf("nightly", "11111111-bbbb", "couchdb"), contentOf("nightly", "11111111-bbbb", "couchdb"), contentOf("old", "33333333-bbbb", "couchdb"))
}

// orphans are left behind, one of each kind.
func orphans(t *testing.T) []client.Object {
	label := map[string]string{api.RestoreUIDLabel: string(lost)}
	name := "cht-restore-22222222-couchdb"
	handle := "snap-1"
	imported := &snapv1.VolumeSnapshotContent{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: label}, Spec: snapv1.VolumeSnapshotContentSpec{DeletionPolicy: snapv1.VolumeSnapshotContentDelete,
		Source: snapv1.VolumeSnapshotContentSource{SnapshotHandle: &handle}, VolumeSnapshotRef: corev1.ObjectReference{Namespace: "medic", Name: name}}}
	importedSnapshot := &snapv1.VolumeSnapshot{ObjectMeta: metav1.ObjectMeta{Namespace: "medic", Name: name, Labels: label}, Spec: snapv1.VolumeSnapshotSpec{Source: snapv1.VolumeSnapshotSource{VolumeSnapshotContentName: &name}}}
	part := recordOf(t, "medic", "half", "44444444-bbbb", noon)
	part.Name, part.Labels["backup.communityhealthtoolkit.org/record-part"], part.Annotations = part.Name+"-1", "1", nil
	volume := &corev1.PersistentVolume{ObjectMeta: metav1.ObjectMeta{Name: "lost", Labels: label}, Status: corev1.PersistentVolumeStatus{Phase: corev1.VolumeReleased},
		Spec: corev1.PersistentVolumeSpec{PersistentVolumeReclaimPolicy: corev1.PersistentVolumeReclaimRetain, ClaimRef: &corev1.ObjectReference{Namespace: "medic", Name: "c"}}}
	scratch := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "medic-scratch-22222222", Labels: label, Annotations: map[string]string{api.ScratchForAnnotation: "medic/gone", api.CreatedForAnnotation: "scratch"}}}
	child := restoreIn(scratch.Name, "scratch")
	child.UID, child.Labels = "r-scratch", label
	return aged(snapshotOf("nightly", lost, "couchdb"), contentOf("nightly", lost, "couchdb"), contentOf("nightly", lost, "couchdb-2"), imported, importedSnapshot, part, volume, scratch, child,
		&corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "medic", Name: "cht-freezer-22222222-1-couchdb", Labels: map[string]string{api.RoleLabel: "freezer", api.BackupUIDLabel: string(lost)}}},
		&corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{Namespace: "medic", Name: "couchdb-claim0-22222222", Labels: label}})
}

// everything gives all objects that matter here, with what they hold.
func (w *world) everything(t *testing.T) map[string]client.Object {
	t.Helper()
	all := map[string]client.Object{}
	for _, list := range []client.ObjectList{&snapv1.VolumeSnapshotList{}, &snapv1.VolumeSnapshotContentList{}, &corev1.SecretList{}, &corev1.PodList{}, &corev1.PersistentVolumeClaimList{},
		&corev1.PersistentVolumeList{}, &corev1.NamespaceList{}, &appsv1.DeploymentList{}, &api.BackupList{}, &api.RestoreList{}} {
		if err := w.List(t.Context(), list); err != nil {
			t.Fatal(err)
		}
		items := reflect.ValueOf(list).Elem().FieldByName("Items")
		for i := range items.Len() {
			o := items.Index(i).Addr().Interface().(client.Object)
			all[fmt.Sprintf("%T %s/%s", o, o.GetNamespace(), o.GetName())] = o
		}
	}
	return all
}

// unchanged fails unless exactly these are there, as they were.
func (w *world) unchanged(t *testing.T, before map[string]client.Object) {
	t.Helper()
	now := w.everything(t)
	for name, o := range now {
		if was := before[name]; was == nil || !reflect.DeepEqual(was, o) {
			t.Errorf("%s was\n%+v\nand is\n%+v", name, was, o)
		}
	}
	for name := range before {
		if now[name] == nil {
			t.Errorf("%s is gone", name)
		}
	}
}

type report struct {
	Healthy           bool
	Problems, Orphans int
	NotLookedAt       []string
	Findings          []struct{ Severity, Kind, Namespace, Name, What, Next, Result string }
}

func TestDoctorFixesWhatIsLeftBehindAndNothingElse(t *testing.T) {
	deleted := map[string]snapv1.DeletionPolicy{}
	hooks := interceptor.Funcs{Delete: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.DeleteOption) error {
		var content snapv1.VolumeSnapshotContent
		if c.Get(ctx, client.ObjectKeyFromObject(o), &content) == nil {
			deleted[content.Name] = content.Spec.DeletionPolicy
		}
		if s, is := o.(*snapv1.VolumeSnapshot); is && s.Spec.Source.VolumeSnapshotContentName != nil { // the snapshot controller deletes it by its policy
			if err := c.Get(ctx, client.ObjectKey{Name: *s.Spec.Source.VolumeSnapshotContentName}, &content); err != nil || content.Spec.DeletionPolicy != snapv1.VolumeSnapshotContentRetain {
				t.Errorf("an import goes with the storage's snapshot: %s, %v", content.Spec.DeletionPolicy, err)
			}
		}
		return c.Delete(ctx, o, opts...)
	}}
	w := newWorld(t, hooks, inhabited(t)...)
	before := w.everything(t)
	w.mustRun(t, exit.Good, nil, "doctor", "--check", leftoversAlone)
	if got := w.out.String(); !strings.Contains(got, "record only") || !strings.Contains(got, "volume aside: was set aside") || !strings.HasSuffix(got, "\nnothing is wrong\n") {
		t.Errorf("healthy: %s", got)
	}
	w.mustRun(t, exit.Good, nil, "doctor", "--check", leftoversAlone, "-A", "--fix", "--yes")
	w.unchanged(t, before)

	planted := orphans(t)
	for _, o := range planted {
		if err := w.Create(t.Context(), o); err != nil {
			t.Fatal(err)
		}
	}
	all := w.everything(t)
	w.mustRun(t, exit.Trouble, []string{"10 objects left behind", "doctor --fix"}, "doctor", "--check", leftoversAlone)
	w.mustRun(t, exit.Trouble, []string{"10 objects left behind"}, "doctor", "--check", leftoversAlone, "-A", "-o", "json")
	if r := decodeOut[report](t, w); r.Healthy || r.Orphans != 10 || r.Problems != 0 || len(r.NotLookedAt) != 0 {
		t.Errorf("%+v", r)
	}
	w.mustRun(t, exit.Usage, []string{"give --yes"}, "doctor", "--check", leftoversAlone, "--fix")
	w.somebody("yes\n")
	w.mustRun(t, exit.Usage, []string{`"yes" is not the word; nothing is removed`}, "doctor", "--check", leftoversAlone, "--fix")
	if asked := w.er.String(); strings.Contains(asked, "nightly-11111111") || strings.Count(asked, "is removed\n") != 10 {
		t.Errorf("asked: %s", asked)
	}
	w.unchanged(t, all)
	w.somebody("remove\n")
	w.mustRun(t, exit.Good, nil, "doctor", "--check", leftoversAlone, "--fix", "-A")
	if got := w.out.String(); strings.Count(got, "    removed\n") != 10 {
		t.Errorf("fixed: %s", got)
	}
	// The volume goes with its policy, by the driver.
	var volume corev1.PersistentVolume
	if err := w.Get(t.Context(), client.ObjectKey{Name: "lost"}, &volume); err != nil || volume.Spec.PersistentVolumeReclaimPolicy != corev1.PersistentVolumeReclaimDelete {
		t.Errorf("volume: %v, %s", err, volume.Spec.PersistentVolumeReclaimPolicy)
	}
	if err := w.Delete(t.Context(), &volume); err != nil {
		t.Fatal(err)
	}
	w.unchanged(t, before)
	if deleted["snapcontent-vs-22222222-bbbb-couchdb-2"] != "Delete" || deleted["cht-restore-22222222-couchdb"] != "Retain" {
		t.Errorf("deleted with the policies %v: an orphan's snapshot goes, what was only imported stays", deleted)
	}
}

func TestDoctorLeavesTheYoungAlone(t *testing.T) {
	w := newWorld(t, interceptor.Funcs{}, append(inhabited(t), orphans(t)...)...)
	w.mustRun(t, exit.Good, nil, "doctor", "--check", leftoversAlone, "-A", "--older-than", "2h")
	w.mustRun(t, exit.Usage, []string{"too short"}, "doctor", "--check", leftoversAlone, "--older-than", "0")
	w.mustRun(t, exit.Usage, []string{"without --fix"}, "doctor", "--check", leftoversAlone, "--yes")
}

// An owner that comes back, or an object that changes, between the look and the fix.
func TestDoctorLooksAgain(t *testing.T) {
	looks := 0
	hooks := interceptor.Funcs{List: func(ctx context.Context, c client.WithWatch, list client.ObjectList, opts ...client.ListOption) error {
		err := c.List(ctx, list, opts...)
		if l, is := list.(*api.BackupList); is && err == nil {
			if looks++; looks == 2 {
				b := *backupIn(api.PhasePending, lost)
				b.Name = "back"
				l.Items = append(l.Items, b)
			}
		}
		return err
	}, Get: func(ctx context.Context, c client.WithWatch, key client.ObjectKey, o client.Object, opts ...client.GetOption) error {
		if v, is := o.(*corev1.PersistentVolume); is { // somebody changes it just now
			if err := c.Get(ctx, key, v, opts...); err != nil {
				return err
			}
			v.Labels["mine"] = "now"
			if err := c.Update(ctx, v); err != nil {
				return err
			}
		}
		return c.Get(ctx, key, o, opts...)
	}}
	w := newWorld(t, hooks, append(inhabited(t), orphans(t)...)...)
	w.mustRun(t, exit.Trouble, []string{"1 object left behind"}, "doctor", "--check", leftoversAlone, "-A", "--fix", "--yes", "-o", "json")
	alone := map[string]string{}
	for _, f := range decodeOut[report](t, w).Findings {
		if f.Severity == "orphan" && f.Result != "removed" {
			alone[f.Name] = f.Result
		}
	}
	if len(alone) != 5 || !strings.Contains(alone["lost"], "changed meanwhile") || !strings.Contains(alone["snapcontent-vs-22222222-bbbb-couchdb"], "no longer left behind") {
		t.Errorf("left alone: %v", alone)
	}
	for _, name := range []string{"snapcontent-vs-22222222-bbbb-couchdb", "snapcontent-vs-22222222-bbbb-couchdb-2"} {
		var content snapv1.VolumeSnapshotContent
		if err := w.Get(t.Context(), client.ObjectKey{Name: name}, &content); err != nil || content.Spec.DeletionPolicy != snapv1.VolumeSnapshotContentRetain {
			t.Errorf("%s: %v, %s", name, err, content.Spec.DeletionPolicy)
		}
	}
}

func TestDoctorWithoutRights(t *testing.T) {
	forbidden := func(kinds ...string) interceptor.Funcs {
		return interceptor.Funcs{List: func(ctx context.Context, c client.WithWatch, list client.ObjectList, opts ...client.ListOption) error {
			what := fmt.Sprintf("%T %s", list, list.GetObjectKind().GroupVersionKind().Kind)
			if slices.ContainsFunc(kinds, func(k string) bool { return strings.Contains(what, k) }) {
				return apierrors.NewForbidden(schema.GroupResource{Resource: "x"}, "", errors.New("no"))
			}
			return c.List(ctx, list, opts...)
		}}
	}
	w := newWorld(t, forbidden("VolumeSnapshotContentList", "SecretList", "NamespaceList", "PersistentVolumeList"), inhabited(t)...)
	w.mustRun(t, exit.Good, nil, "doctor", "--check", leftoversAlone)
	if got := w.out.String() + w.er.String(); !strings.Contains(got, "nothing is wrong with what could be looked at") || strings.Count(got, "were not looked at: you may not") != 4 {
		t.Errorf("%s", got)
	}
	w = newWorld(t, forbidden("BackupList"), inhabited(t)...)
	w.mustRun(t, exit.Refused, []string{"look at the cluster", "list backups", "ask whoever administers"}, "doctor", "--check", leftoversAlone, "--fix", "--yes")
}
