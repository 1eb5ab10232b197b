package restore

import (
	"context"
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/snapshot"
	"github.com/medic/cht-backup/snapshot/await"
	"github.com/medic/cht-backup/snapshot/reason"
)

// The scratch namespace of a restore of one database, or of a drill, holds a Restore
// of its own, of CouchDB alone. It is made, closed in, verified and removed as every
// clone is.

// scratchTime is when a scratch clone ends by itself, should nobody be left who
// removes it.
const scratchTime = 72 * time.Hour

// scratchChild is the name of the Restore in the scratch namespace.
const scratchChild = "scratch"

func scratchName(restore *api.Restore) string {
	return fmt.Sprintf("%.40s-scratch-%.8s", restore.Namespace, restore.UID)
}

// scratchRestore is what brings the backup's CouchDB up. For one database, what it
// finds of all is Quick; the one that is wanted is verified on its own.
func scratchRestore(restore *api.Restore, backup types.UID) *api.Restore {
	source, verify := restore.Spec.Source, api.VerifyQuick
	if restore.Spec.Drill != nil {
		verify = restore.Spec.Verify
	}
	source.UID = backup
	return &api.Restore{
		ObjectMeta: metav1.ObjectMeta{Namespace: scratchName(restore), Name: scratchChild, Labels: labels(restore, ""), Annotations: scratchFor(restore)},
		Spec: api.RestoreSpec{
			Source: source, Scope: api.ScopeCouchDB, Verify: verify, Credentials: api.CredentialsKeep, Remap: restore.Spec.Remap.DeepCopy(), EBS: restore.Spec.EBS.DeepCopy(),
			TimeToLive: &metav1.Duration{Duration: scratchTime}, StepTimeout: restore.Spec.StepTimeout,
			DataFrom: restore.Spec.DataFrom,
		},
	}
}

func scratchFor(restore *api.Restore) map[string]string {
	return map[string]string{api.ScratchForAnnotation: restore.Namespace + "/" + restore.Name}
}

// scratchAllowed refuses what needs a namespace that is not there yet where none may be
// made.
func (r *Reconciler) scratchAllowed(restore *api.Restore) error {
	what := ""
	switch {
	case !r.Narrow:
	case restore.Spec.Drill != nil:
		what = "a drill"
	case restore.Spec.Database != nil:
		what = "a restore of one database"
	}
	if what == "" {
		return nil
	}
	return reason.Refuse(api.ReasonNotAllowed, "%s needs a namespace that is made for it, and this controller has rights only in those that it was told: its rbac-scope is Namespaced (value rbac.scope of its chart; Cluster allows this, see docs/scope.md)", what)
}

// scratchFits refuses unless the scratch namespace can be filled, and takes over
// what somebody should weigh of that.
func (r *Reconciler) scratchFits(ctx context.Context, w *work) error {
	scratch, err := r.scratchWork(ctx, w)
	if err != nil {
		return err
	}
	if err := r.fits(ctx, scratch); err != nil {
		return err
	}
	for _, text := range scratch.cautions {
		w.caution("%s", text)
	}
	w.scratch = scratch
	return nil
}

// planScratchClaims tells of the claims in the scratch namespace.
func planScratchClaims(w *work) (lines []string) {
	if w.scratch == nil {
		return nil
	}
	for _, node := range w.scratch.volumes() {
		c := claim(w.scratch.restore, node)
		lines = append(lines, fmt.Sprintf("there: create claim %s (%s) %s", c.Name, c.Spec.Resources.Requests.Storage(), from(w.scratch.restore, node)))
	}
	return lines
}

// scratchWork is what the scratch restore's steps will work on.
func (r *Reconciler) scratchWork(ctx context.Context, w *work) (*work, error) {
	child := scratchRestore(w.restore, w.record.UID)
	child.Status.Record, child.Status.Volumes = w.restore.Status.Record, volumesOf(w.record)
	return r.load(ctx, child)
}

// makeScratch makes the namespace and the Restore in it, which is allowed by what
// the check wrote into this one's status.
func (r *Reconciler) makeScratch(ctx context.Context, w *work) (*api.Restore, error) {
	restore := w.restore
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: scratchName(restore), Labels: labels(restore, ""), Annotations: scratchFor(restore)}}
	namespace.Annotations[api.CreatedForAnnotation] = scratchChild
	if err := r.create(ctx, restore, namespace); err != nil {
		return nil, fmt.Errorf("create namespace %s: %w", namespace.Name, err)
	}
	child := scratchRestore(restore, w.record.UID)
	if err := r.create(ctx, restore, child); err != nil {
		return nil, fmt.Errorf("create restore %s/%s: %w", child.Namespace, child.Name, err)
	}
	return child, nil
}

// scratch makes the scratch namespace and waits until the Restore in it has ended.
func (r *Reconciler) scratch(ctx context.Context, w *work) error {
	child, err := r.makeScratch(ctx, w)
	if err != nil {
		return err
	}
	return oneTurn(ctx, func(ctx context.Context) error {
		var list api.RestoreList
		return await.List(ctx, r.Client, &list, func() (string, error) {
			if len(list.Items) == 0 {
				return "", reason.Refuse(api.ReasonReplicationFailed, "restore %s/%s, which brings the backup's CouchDB up, was deleted", child.Namespace, child.Name)
			}
			status := list.Items[0].Status
			why, message := api.ReasonReplicationFailed, ""
			if c := meta.FindStatusCondition(status.Conditions, api.ConditionReady); c != nil {
				why, message = c.Reason, c.Message
			}
			switch {
			case status.Phase == api.PhaseCompleted:
				return "", nil
			case snapshot.Ended(status.Phase) || status.Phase == api.PhaseExpiring:
				return "", reason.Refuse(why, "the backup's CouchDB could not be brought up in namespace %s: %s", child.Namespace, message)
			}
			return fmt.Sprintf("the backup's CouchDB in namespace %s (%s: %s)", child.Namespace, orPending(status.Phase), message), nil
		}, client.InNamespace(child.Namespace), client.MatchingFields{"metadata.name": child.Name})
	})
}

// dropScratch removes the scratch namespace with all that is in it, and waits for a
// turn until that is under way.
func (r *Reconciler) dropScratch(ctx context.Context, restore *api.Restore) error {
	return oneTurn(ctx, func(ctx context.Context) error {
		return await.List(ctx, r.Client, &api.RestoreList{}, func() (string, error) { return r.endScratch(ctx, restore) },
			client.InNamespace(scratchName(restore)), client.MatchingFields{"metadata.name": scratchChild})
	})
}

// endScratch deletes first the Restore in the scratch namespace, which takes its
// volumes along, then the namespace. It tells what the latter has to wait for.
func (r *Reconciler) endScratch(ctx context.Context, restore *api.Restore) (waitingFor string, err error) {
	var namespace corev1.Namespace
	err = r.Client.Get(ctx, client.ObjectKey{Name: scratchName(restore)}, &namespace)
	if apierrors.IsNotFound(err) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("get namespace %s: %w", scratchName(restore), err)
	}
	if namespace.Labels[api.RestoreUIDLabel] != string(restore.UID) {
		return "", nil // somebody else's of that name
	}
	child := &api.Restore{ObjectMeta: metav1.ObjectMeta{Namespace: namespace.Name, Name: scratchChild}}
	if err := r.Client.Delete(ctx, child); client.IgnoreNotFound(err) != nil {
		return "", fmt.Errorf("delete restore %s/%s: %w", child.Namespace, child.Name, err)
	}
	if err := r.Client.Get(ctx, client.ObjectKeyFromObject(child), child); err == nil {
		return "the end of the scratch namespace " + namespace.Name, nil
	} else if !apierrors.IsNotFound(err) {
		return "", fmt.Errorf("get restore %s/%s: %w", child.Namespace, child.Name, err)
	}
	if namespace.DeletionTimestamp != nil {
		return "", nil
	}
	if err := r.Client.Delete(ctx, &namespace, client.Preconditions{UID: &namespace.UID}); client.IgnoreNotFound(err) != nil {
		return "", fmt.Errorf("delete namespace %s: %w", namespace.Name, err)
	}
	return "", nil
}

// onBehalf names the namespace whose right to a backup counts. A scratch restore
// has that of the restore that it serves.
func (r *Reconciler) onBehalf(ctx context.Context, restore *api.Restore) (string, error) {
	parent, err := r.parent(ctx, restore)
	if err != nil || parent == nil {
		return restore.Namespace, err
	}
	return parent.Namespace, nil
}

// parent gives the restore that a scratch restore serves, if that says so itself:
// the annotation on the namespace alone anybody might have written who may create
// namespaces. nil for any other restore.
func (r *Reconciler) parent(ctx context.Context, restore *api.Restore) (*api.Restore, error) {
	var namespace corev1.Namespace
	if err := r.Client.Get(ctx, client.ObjectKey{Name: restore.Namespace}, &namespace); apierrors.IsNotFound(err) {
		return nil, nil
	} else if err != nil {
		return nil, fmt.Errorf("get namespace %s: %w", restore.Namespace, err)
	}
	key, ok := parentOf(&namespace)
	if !ok || restore.Name != scratchChild {
		return nil, nil
	}
	var parent api.Restore
	if err := r.Client.Get(ctx, key, &parent); apierrors.IsNotFound(err) {
		return nil, nil
	} else if err != nil {
		return nil, fmt.Errorf("get restore %s: %w", key, err)
	}
	if !serves(restore, &parent) {
		return nil, nil
	}
	return &parent, nil
}

// parentOf names the restore that a scratch namespace, or the Restore in it, is for.
func parentOf(o client.Object) (client.ObjectKey, bool) {
	ns, name, ok := strings.Cut(o.GetAnnotations()[api.ScratchForAnnotation], "/")
	return client.ObjectKey{Namespace: ns, Name: name}, ok
}

// scratchOf names the scratch namespace that a restore says it has; "" is none.
func scratchOf(restore *api.Restore) string {
	switch {
	case restore.Spec.Database != nil && restore.Status.Database != nil:
		return restore.Status.Database.Scratch
	case restore.Spec.Drill != nil && restore.Status.Drill != nil:
		return restore.Status.Drill.Scratch
	}
	return ""
}

// serves tells whether a restore is the scratch restore of parent: parent says so
// in its status, which only the controller writes, and both are of one backup.
func serves(restore, parent *api.Restore) bool {
	return !snapshot.Ended(parent.Status.Phase) && scratchOf(parent) != "" && scratchOf(parent) == restore.Namespace &&
		restore.Labels[api.RestoreUIDLabel] == string(parent.UID) && restore.Spec.Scope == api.ScopeCouchDB &&
		parent.Status.BackupUID == restore.Spec.Source.UID && parent.Spec.Source.Namespace == restore.Spec.Source.Namespace && parent.Spec.Source.Name == restore.Spec.Source.Name
}
