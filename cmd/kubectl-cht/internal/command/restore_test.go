package command

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/cmd/kubectl-cht/internal/exit"
	"github.com/medic/cht-backup/snapshot/cht"
)

const made = "restore-20260301-120000"

func (w *world) restore(t *testing.T, name string) *api.Restore {
	t.Helper()
	var r api.Restore
	if err := w.Get(t.Context(), client.ObjectKey{Namespace: "clone", Name: name}, &r); err != nil {
		t.Fatal(err)
	}
	return &r
}

// untouched fails when anything was created or granted.
func (w *world) untouched(t *testing.T) {
	t.Helper()
	var restores api.RestoreList
	if err := w.List(t.Context(), &restores); err != nil || len(restores.Items) > 0 {
		t.Errorf("restores: %v %v", restores.Items, err)
	}
	if err := w.Get(t.Context(), client.ObjectKey{Name: "clone"}, &corev1.Namespace{}); !apierrors.IsNotFound(err) {
		t.Errorf("namespace clone: %v", err)
	}
	var backups api.BackupList
	if err := w.List(t.Context(), &backups); err != nil {
		t.Fatal(err)
	}
	for _, b := range backups.Items {
		if slices.Contains(b.Spec.AllowedNamespaces, "clone") {
			t.Errorf("backup %s allows clone", b.Name)
		}
	}
}

func TestRestoreGrantsCreatesFollows(t *testing.T) {
	w := newWorld(t, interceptor.Funcs{}, backupIn(api.PhaseCompleted, "u-1", "other"))
	w.mustRun(t, exit.Good, nil, "restore", "--from", "medic/nightly", "--to", "clone")
	if got := w.backup(t, "nightly").Spec.AllowedNamespaces; !slices.Equal(got, []string{"other", "clone"}) {
		t.Errorf("allowedNamespaces %v", got)
	}
	if err := w.Get(t.Context(), client.ObjectKey{Name: "clone"}, &corev1.Namespace{}); err != nil {
		t.Error(err)
	}
	r := w.restore(t, made)
	if r.Spec.Source != (api.BackupReference{Namespace: "medic", Name: "nightly"}) || r.Spec.GoLive || r.Spec.StepTimeout.Duration != 15*time.Minute {
		t.Errorf("spec %+v", r.Spec)
	}
	if !strings.Contains(w.out.String(), "restore clone/"+made+" is Completed") {
		t.Errorf("stdout: %s", w.out)
	}
}

func TestRestoreFlags(t *testing.T) {
	w := newWorld(t, interceptor.Funcs{}, backupIn(api.PhaseCompleted, "u-1", "*"), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "clone"}})
	w.mustRun(t, exit.Good, nil, "restore", "--from", "medic/nightly", "--to", "clone", "--go-live", "--name", "r", "--uid", "u-1", "--create-namespace=false", "--no-wait", "-o", "json")
	printed, there := decodeOut[api.Restore](t, w), w.restore(t, "r")
	if printed.Kind != "Restore" || printed.Name != "r" {
		t.Errorf("printed %+v", printed)
	}
	if !there.Spec.GoLive || there.Spec.Source.UID != "u-1" {
		t.Errorf("spec %+v", there.Spec)
	}
	if got := w.backup(t, "nightly").Spec.AllowedNamespaces; !slices.Equal(got, []string{"*"}) {
		t.Errorf("all were allowed already, now: %v", got)
	}
}

// Two grants at once: the list that was read is old by the time it is written.
func TestGrantKeepsAnothersGrant(t *testing.T) {
	first := true
	w := newWorld(t, interceptor.Funcs{Patch: func(ctx context.Context, c client.WithWatch, o client.Object, p client.Patch, opts ...client.PatchOption) error {
		if o, is := o.(*api.Backup); is && first && len(opts) == 0 {
			first = false
			now := backupIn("", "")
			if err := c.Get(ctx, client.ObjectKeyFromObject(o), now); err != nil {
				return err
			}
			now.Spec.AllowedNamespaces = append(now.Spec.AllowedNamespaces, "theirs")
			if err := c.Update(ctx, now); err != nil {
				return err
			}
		}
		return c.Patch(ctx, o, p, opts...)
	}}, backupIn(api.PhaseCompleted, "u-1"))
	w.mustRun(t, exit.Good, nil, "restore", "--from", "medic/nightly", "--to", "clone")
	if got := w.backup(t, "nightly").Spec.AllowedNamespaces; !slices.Equal(got, []string{"theirs", "clone"}) {
		t.Errorf("allowedNamespaces %v", got)
	}
}

func TestRestoreFromRecord(t *testing.T) {
	record := recordOf(t, "medic", "nightly", "u-old", noon, "a")
	w := newWorld(t, interceptor.Funcs{}, record)
	w.mustRun(t, exit.Good, nil, "restore", "--from", "medic/nightly", "--to", "clone")
	var secret corev1.Secret
	if err := w.Get(t.Context(), client.ObjectKeyFromObject(record), &secret); err != nil {
		t.Fatal(err)
	}
	if got := secret.Annotations[api.AllowedNamespacesAnnotation]; got != "a,clone" {
		t.Errorf("annotation %q", got)
	}
	w.restore(t, made)

	// Back into its own namespace: nothing to grant.
	w = newWorld(t, interceptor.Funcs{}, recordOf(t, "medic", "nightly", "u-old", noon))
	w.mustRun(t, exit.Good, nil, "restore", "--from", "medic/nightly", "--to", "medic", "--go-live")
	if err := w.Get(t.Context(), client.ObjectKeyFromObject(record), &secret); err != nil {
		t.Fatal(err)
	}
	if got := secret.Annotations[api.AllowedNamespacesAnnotation]; got != "" {
		t.Errorf("annotation %q", got)
	}
}

func TestRestoreAmbiguous(t *testing.T) {
	records := []client.Object{recordOf(t, "medic", "nightly", "u-1", noon), recordOf(t, "medic", "nightly", "u-2", noon.Add(time.Hour)), recordOf(t, "medic", "weekly", "u-3", noon)}
	w := newWorld(t, interceptor.Funcs{}, records...)
	w.mustRun(t, exit.Refused, []string{"2 backups named medic/nightly", "--uid", "u-1 (cut 2026-03-01T12:00:00Z)", "u-2 (cut 2026-03-01T13:00:00Z)"}, "restore", "--from", "medic/nightly", "--to", "clone")
	w.mustRun(t, exit.Refused, []string{"no record with UID u-3", "u-1"}, "restore", "--from", "medic/nightly", "--uid", "u-3", "--to", "clone")
	w.untouched(t)
	w.mustRun(t, exit.Good, nil, "restore", "--from", "medic/nightly", "--uid", "u-2", "--to", "clone")
	if got := w.restore(t, made).Spec.Source.UID; got != "u-2" {
		t.Errorf("uid %q", got)
	}
	// A Backup of that name that exists is the one that is meant.
	w = newWorld(t, interceptor.Funcs{}, append(records, backupIn(api.PhaseCompleted, "u-2"))...)
	w.mustRun(t, exit.Good, nil, "restore", "--from", "medic/nightly", "--to", "clone")
}

func TestRestoreRefuses(t *testing.T) {
	labelled := map[string]string{cht.ServiceLabel: "couchdb"}
	template := corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: labelled}}
	in := metav1.ObjectMeta{Namespace: "clone", Name: "cht-couchdb"}
	clone := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "clone"}}
	ending := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "clone", DeletionTimestamp: &metav1.Time{Time: noon}, Finalizers: []string{"x"}}}
	good := backupIn(api.PhaseCompleted, "u-1")
	leaving := backupIn(api.PhaseCompleted, "u-1")
	leaving.DeletionTimestamp, leaving.Finalizers = &metav1.Time{Time: noon}, []string{api.Finalizer}
	secrets := interceptor.Funcs{List: func(ctx context.Context, c client.WithWatch, list client.ObjectList, opts ...client.ListOption) error {
		if _, is := list.(*metav1.PartialObjectMetadataList); is {
			return apierrors.NewForbidden(schema.GroupResource{Resource: "secrets"}, "", errors.New("no"))
		}
		return c.List(ctx, list, opts...)
	}}
	for _, tc := range []struct {
		name    string
		objects []client.Object
		hooks   interceptor.Funcs
		from    string
		to      string
		extra   []string
		code    exit.Code
		says    []string
	}{
		{name: "no slash", from: "nightly", code: exit.Usage, says: []string{"NAMESPACE/NAME"}},
		{name: "two slashes", from: "a/b/c", code: exit.Usage, says: []string{"NAMESPACE/NAME"}},
		{name: "no from", code: exit.Usage, says: []string{"NAMESPACE/NAME"}},
		{name: "no name", from: "medic/", code: exit.Usage, says: []string{"NAMESPACE/NAME"}},
		{name: "bad namespace in from", from: "Medic/nightly", code: exit.Usage, says: []string{`"Medic" cannot be a namespace`}},
		{name: "no to", from: "medic/nightly", to: "-", code: exit.Usage, says: []string{"--to is missing"}},
		{name: "bad to", from: "medic/nightly", to: "Clone_1", code: exit.Usage, says: []string{`--to: "Clone_1" cannot be a namespace`}},
		{name: "long to", from: "medic/nightly", to: strings.Repeat("n", 64), code: exit.Usage, says: []string{"63"}},
		{name: "system namespace", from: "medic/nightly", to: system, code: exit.Usage, says: []string{"of the cluster's own"}},
		{name: "bad name", from: "medic/nightly", extra: []string{"--name", "R"}, code: exit.Usage, says: []string{`restore name "R"`}},
		{name: "bad step timeout", from: "medic/nightly", extra: []string{"--step-timeout", "25h"}, code: exit.Usage, says: []string{"--step-timeout"}},
		{name: "missing", from: "medic/nightly", code: exit.Refused, says: []string{"backup medic/nightly does not exist", "kubectl cht list -A"}},
		{name: "missing, records hidden", from: "medic/nightly", hooks: secrets, code: exit.Refused, says: []string{"there is no Backup medic/nightly", "ask whoever administers"}},
		{name: "running", from: "medic/nightly", objects: []client.Object{backupIn(api.PhaseCutting, "u-1")}, code: exit.Refused, says: []string{"is Cutting, not Completed"}},
		{name: "failed", from: "medic/nightly", objects: []client.Object{backupIn(api.PhaseFailed, "u-1")}, code: exit.Refused, says: []string{"is Failed, not Completed"}},
		{name: "being deleted", from: "medic/nightly", objects: []client.Object{leaving}, code: exit.Refused, says: []string{"is being deleted"}},
		{name: "other uid", from: "medic/nightly", objects: []client.Object{good}, extra: []string{"--uid", "u-0"}, code: exit.Refused, says: []string{"medic/nightly"}},
		{name: "namespace missing", from: "medic/nightly", objects: []client.Object{good}, extra: []string{"--create-namespace=false"}, code: exit.Refused, says: []string{"namespace clone does not exist"}},
		{name: "namespace ending", from: "medic/nightly", objects: []client.Object{good, ending}, code: exit.Refused, says: []string{"namespace clone is being deleted"}},
		{name: "holds a deployment", from: "medic/nightly", objects: []client.Object{good, clone, &appsv1.Deployment{ObjectMeta: in, Spec: appsv1.DeploymentSpec{Template: template}}},
			code: exit.Refused, says: []string{"namespace clone holds a CHT already (deployment cht-couchdb)", "--to"}},
		{name: "holds a statefulset", from: "medic/nightly", objects: []client.Object{good, clone, &appsv1.StatefulSet{ObjectMeta: in, Spec: appsv1.StatefulSetSpec{Template: template}}},
			code: exit.Refused, says: []string{"statefulset cht-couchdb"}},
		{name: "holds a pod", from: "medic/nightly", objects: []client.Object{good, clone, &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "clone", Name: "p", Labels: labelled}}},
			code: exit.Refused, says: []string{"pod p"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			objects := make([]client.Object, len(tc.objects))
			for i, o := range tc.objects {
				objects[i] = copyOf(o)
			}
			w := newWorld(t, tc.hooks, objects...)
			args := []string{"restore", "--from", tc.from}
			switch tc.to {
			case "":
				args = append(args, "--to", "clone")
			case "-":
			default:
				args = append(args, "--to", tc.to)
			}
			w.mustRun(t, tc.code, tc.says, append(args, tc.extra...)...)
			if !slices.ContainsFunc(objects, func(o client.Object) bool { return o.GetName() == "clone" }) {
				w.untouched(t)
			}
		})
	}
}

// Who may not grant must not leave a namespace behind.
func TestRestoreNotAllowedLeavesNothing(t *testing.T) {
	w := newWorld(t, interceptor.Funcs{Patch: func(context.Context, client.WithWatch, client.Object, client.Patch, ...client.PatchOption) error {
		return apierrors.NewForbidden(schema.GroupResource{Resource: "backups"}, "nightly", errors.New("no"))
	}}, backupIn(api.PhaseCompleted, "u-1"))
	w.mustRun(t, exit.Refused, []string{"allow backup medic/nightly to be restored into clone", "for that right"}, "restore", "--from", "medic/nightly", "--to", "clone")
	w.untouched(t)
}

// A namespace that cannot be made must not leave a grant to a name that anybody may take.
func TestRestoreNoNamespaceLeavesNoGrant(t *testing.T) {
	record := recordOf(t, "lost", "nightly", "u-9", noon)
	w := newWorld(t, interceptor.Funcs{Create: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.CreateOption) error {
		if _, is := o.(*corev1.Namespace); is {
			return apierrors.NewForbidden(schema.GroupResource{Resource: "namespaces"}, "clone", errors.New("no"))
		}
		return c.Create(ctx, o, opts...)
	}}, backupIn(api.PhaseCompleted, "u-1"), record)
	for _, from := range []string{"medic/nightly", "lost/nightly"} {
		w.mustRun(t, exit.Refused, []string{"create namespace clone", "--create-namespace=false"}, "restore", "--from", from, "--to", "clone")
		w.untouched(t)
	}
	if err := w.Get(t.Context(), client.ObjectKeyFromObject(record), record); err != nil || record.Annotations[api.AllowedNamespacesAnnotation] != "" {
		t.Errorf("record allows %q, %v", record.Annotations[api.AllowedNamespacesAnnotation], err)
	}
}

func TestRestoreFailed(t *testing.T) {
	w := newWorld(t, interceptor.Funcs{}, backupIn(api.PhaseCompleted, "u-1"))
	w.end = api.PhaseFailed
	w.mustRun(t, exit.Failed, []string{"restore clone/" + made + " failed (PodNotReady)"}, "restore", "--from", "medic/nightly", "--to", "clone")
}
