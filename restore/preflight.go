package restore

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/snapshot"
	"github.com/medic/cht-backup/snapshot/catalog"
	"github.com/medic/cht-backup/snapshot/cht"
	"github.com/medic/cht-backup/snapshot/reason"
)

// findRecord names the record that a restore's source means.
func (r *Reconciler) findRecord(ctx context.Context, restore *api.Restore) (catalog.Head, error) {
	source := restore.Spec.Source
	// Both stand in paths and selectors, where what is no name is an error of the API
	// server's that no other try heals.
	if err := catalog.CheckIdentity(source.Namespace, source.Name, cmp.Or(string(source.UID), "any")); err != nil {
		return catalog.Head{}, reason.Refuse(api.ReasonBackupNotFound, "no backup is called so: %w", err)
	}
	heads, err := r.Records.List(ctx, source.Namespace)
	if err != nil {
		return catalog.Head{}, err
	}
	heads = slices.DeleteFunc(heads, func(h catalog.Head) bool {
		return h.Name != source.Name || source.UID != "" && h.UID != source.UID
	})
	// A live Backup of that name is the one that is meant, and its state counts.
	var backup api.Backup
	err = r.Client.Get(ctx, client.ObjectKey{Namespace: source.Namespace, Name: source.Name}, &backup)
	if r.Narrow && apierrors.IsForbidden(err) {
		return catalog.Head{}, reason.Refuse(api.ReasonNotAllowed, "this controller has no rights in namespace %s, where backup %s is: its rbac-scope is Namespaced, and its setting namespaces does not list %s (values rbac.scope and namespaces of its chart)", source.Namespace, source.Name, source.Namespace)
	}
	if client.IgnoreNotFound(err) != nil {
		return catalog.Head{}, fmt.Errorf("get backup %s/%s: %w", source.Namespace, source.Name, err)
	}
	if err == nil && (source.UID == "" || source.UID == backup.UID) {
		if from := backup.Status.Imported; backup.IsImported() && from != nil {
			return catalog.Head{}, reason.Refuse(api.ReasonBackupNotReady, "backup %s/%s only shows a record of the catalog; restore it with `kubectl cht restore --from CATALOG-URL/%s/%s --to NAMESPACE`, where CATALOG-URL is %s",
				source.Namespace, source.Name, from.Backup.Namespace, from.Backup.Name, from.Catalog)
		}
		if backup.Status.Phase != api.PhaseCompleted {
			return catalog.Head{}, reason.Refuse(api.ReasonBackupNotReady, "backup %s/%s is %s, not Completed; choose another (`kubectl cht list -n %s`)",
				source.Namespace, source.Name, orPending(backup.Status.Phase), source.Namespace)
		}
		heads = slices.DeleteFunc(heads, func(h catalog.Head) bool { return h.UID != backup.UID })
		for i := range heads {
			heads[i].AllowedNamespaces = backup.Spec.AllowedNamespaces
		}
	}
	switch len(heads) {
	case 0:
		return catalog.Head{}, reason.Refuse(api.ReasonBackupNotFound, "there is no record of backup %s/%s; `kubectl cht list -A` shows what there is", source.Namespace, source.Name)
	case 1:
		return heads[0], nil
	}
	var which []string
	for _, h := range heads {
		which = append(which, fmt.Sprintf("%s (cut %s)", h.UID, h.CutTime))
	}
	return catalog.Head{}, reason.Refuse(api.ReasonBackupNotFound, "there are %d backups named %s/%s, set source.uid to one of: %s", len(heads), source.Namespace, source.Name, strings.Join(which, ", "))
}

func orPending(p api.Phase) api.Phase {
	if p == "" {
		return api.PhasePending
	}
	return p
}

// allowed tells whether a backup may be restored into namespace: its own, and
// those that whoever may change the Backup has named.
func allowed(h catalog.Head, namespace string) error {
	if namespace == h.Namespace || slices.Contains(h.AllowedNamespaces, namespace) || slices.Contains(h.AllowedNamespaces, "*") {
		return nil
	}
	return reason.Refuse(api.ReasonNotAllowed, "backup %s/%s may not be restored into %s; somebody who may change that Backup must add %s to its spec.allowedNamespaces (`kubectl cht restore` does so)",
		h.Namespace, h.Name, namespace, namespace)
}

// preflight refuses before anything is made.
func (r *Reconciler) preflight(ctx context.Context, w *work) error {
	if err := r.scratchAllowed(w.restore); err != nil {
		return err
	}
	if err := r.onlyOperation(ctx, w.restore); err != nil {
		return err
	}
	switch {
	case w.restore.Spec.Database != nil:
		return r.preflightDatabase(ctx, w)
	case w.restore.Spec.Drill != nil:
		return r.preflightDrill(ctx, w)
	}
	if err := r.fits(ctx, w); err != nil {
		return err
	}
	if w.restore.Spec.InPlace != nil {
		return r.preflightInPlace(ctx, w)
	}
	return r.preflightClone(ctx, w)
}

// preflightClone refuses unless the target is free of everything the restore
// makes.
func (r *Reconciler) preflightClone(ctx context.Context, w *work) error {
	restore := w.restore
	for _, node := range w.record.Nodes {
		if err := r.free(ctx, restore, &corev1.PersistentVolumeClaim{}, "claim", node.Claim); err != nil {
			return err
		}
	}
	for _, o := range w.target {
		there := &unstructured.Unstructured{}
		there.SetGroupVersionKind(o.GroupVersionKind())
		if err := r.free(ctx, restore, there, o.GetKind(), o.GetName()); err != nil {
			return err
		}
	}
	inventory, err := cht.Load(ctx, r.Client, restore.Namespace)
	if err != nil {
		return err
	}
	for _, pod := range inventory.Pods {
		if pod.Labels[api.RestoreUIDLabel] == "" {
			return reason.Refuse(api.ReasonTargetNotEmpty, "namespace %s runs CHT pod %s (%s); restore into an empty namespace", restore.Namespace, pod.Name, pod.Labels[cht.ServiceLabel])
		}
	}
	return r.ingressFree(ctx, restore, w.target)
}

func (r *Reconciler) free(ctx context.Context, restore *api.Restore, o client.Object, kind, name string) error {
	err := r.Client.Get(ctx, client.ObjectKey{Namespace: restore.Namespace, Name: name}, o)
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("get %s %s/%s: %w", kind, restore.Namespace, name, err)
	}
	if o.GetLabels()[api.RestoreUIDLabel] == string(restore.UID) {
		return nil
	}
	return reason.Refuse(api.ReasonTargetNotEmpty, "%s %s exists in namespace %s already; restore into an empty namespace", kind, name, restore.Namespace)
}

// onlyOperation refuses while a backup or an older restore works here. A drill works
// elsewhere: it stands in the way of other drills only, and they in its.
func (r *Reconciler) onlyOperation(ctx context.Context, restore *api.Restore) error {
	var restores api.RestoreList
	if err := r.Client.List(ctx, &restores, client.InNamespace(restore.Namespace)); err != nil {
		return fmt.Errorf("list restores of %s: %w", restore.Namespace, err)
	}
	for _, other := range restores.Items {
		if (other.Spec.Drill == nil) != (restore.Spec.Drill == nil) {
			continue
		}
		if other.UID != restore.UID && !snapshot.Idle(other.Status.Phase) && ahead(&other, restore) {
			return reason.Refuse(api.ReasonConcurrentOperation, "restore %s is under way in %s; wait until it ends", other.Name, restore.Namespace)
		}
	}
	if restore.Spec.Drill != nil {
		return nil
	}
	var backups api.BackupList
	if err := r.Client.List(ctx, &backups, client.InNamespace(restore.Namespace)); err != nil {
		return fmt.Errorf("list backups of %s: %w", restore.Namespace, err)
	}
	for _, b := range backups.Items {
		if !snapshot.Ended(b.Status.Phase) && b.Name != restore.Status.SafetyBackup {
			return reason.Refuse(api.ReasonConcurrentOperation, "backup %s is under way in %s; wait until it ends", b.Name, restore.Namespace)
		}
	}
	return nil
}

// ahead tells which of two restores goes on: one that has begun, else the older one,
// so that two created at once cannot both refuse.
func ahead(other, restore *api.Restore) bool {
	if phase := orPending(other.Status.Phase); phase != api.PhasePending {
		return true
	}
	if !other.CreationTimestamp.Equal(&restore.CreationTimestamp) {
		return other.CreationTimestamp.Before(&restore.CreationTimestamp)
	}
	return other.UID < restore.UID
}

// ingressFree refuses an ingress for a host that another one serves.
func (r *Reconciler) ingressFree(ctx context.Context, restore *api.Restore, objects []*unstructured.Unstructured) error {
	if !hasIngress(restore) {
		return nil
	}
	mine := map[string]bool{}
	for _, o := range objects {
		if o.GetKind() == "Ingress" {
			for _, host := range ingressHosts(o) {
				mine[host] = true
			}
		}
	}
	if len(mine) == 0 {
		return nil
	}
	var all networkingv1.IngressList
	if err := r.Client.List(ctx, &all); err != nil {
		return fmt.Errorf("list ingresses: %w", err)
	}
	for _, other := range all.Items {
		for _, rule := range other.Spec.Rules {
			if mine[rule.Host] && other.Namespace != restore.Namespace {
				return reason.Refuse(api.ReasonIngressConflict, "ingress %s/%s serves host %q, which the restored ingress would serve too: is the source still running? Remove that ingress, or give the restored one another host (--ingress-host)",
					other.Namespace, other.Name, rule.Host)
			}
		}
	}
	return nil
}

func ingressHosts(o *unstructured.Unstructured) []string {
	var hosts []string
	rules, _, _ := unstructured.NestedSlice(o.Object, "spec", "rules")
	for _, rule := range rules {
		if m, ok := rule.(map[string]any); ok {
			host, _ := m["host"].(string)
			hosts = append(hosts, host)
		}
	}
	return hosts
}
