package restore

import (
	"context"
	"fmt"
	"slices"
	"strings"

	snapv1 "github.com/kubernetes-csi/external-snapshotter/client/v8/apis/volumesnapshot/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/snapshot/cht"
	"github.com/medic/cht-backup/snapshot/paged"
)

// Deleting a namespace deletes whatever is in it, so it is looked through first.

// lookedFor are the kinds that may hold somebody's work.
var lookedFor = slices.Concat(cht.ObjectKinds, []schema.GroupVersionKind{
	claimKind,
	{Version: "v1", Kind: "Pod"},
	{Group: "apps", Version: "v1", Kind: "DaemonSet"},
	{Group: "apps", Version: "v1", Kind: "ReplicaSet"},
	{Group: "batch", Version: "v1", Kind: "Job"},
	{Group: "batch", Version: "v1", Kind: "CronJob"},
	{Group: "networking.k8s.io", Version: "v1", Kind: "NetworkPolicy"},
	snapv1.SchemeGroupVersion.WithKind("VolumeSnapshot"),
	api.GroupVersion.WithKind("Backup"),
	api.GroupVersion.WithKind("Restore"),
})

// removeNamespace deletes the restore's namespace if it was created for the
// restore. It tells why not, where somebody might wonder.
func (r *Reconciler) removeNamespace(ctx context.Context, restore *api.Restore) (said string, err error) {
	var namespace corev1.Namespace
	if err := r.Client.Get(ctx, client.ObjectKey{Name: restore.Namespace}, &namespace); apierrors.IsNotFound(err) {
		return "", nil
	} else if err != nil {
		return "", fmt.Errorf("get namespace %s: %w", restore.Namespace, err)
	}
	if namespace.Annotations[api.CreatedForAnnotation] != restore.Name || namespace.DeletionTimestamp != nil || r.isSystem(namespace.Name) {
		return "", nil
	}
	if r.Narrow { // it could be emptied of what is known here; whatever else is in it stays in sight
		return fmt.Sprintf("namespace %s was created for this restore and is kept, since a controller of rbac-scope Namespaced deletes none; delete it yourself", namespace.Name), nil
	}
	foreign, err := r.foreign(ctx, restore, &namespace)
	if err != nil {
		return "", err
	}
	if foreign != "" {
		return fmt.Sprintf("namespace %s was created for this restore and is kept, since it holds %s, which is not of it", namespace.Name, foreign), nil
	}
	// Nobody may have made it another namespace, or taken the annotation off, since.
	err = r.Client.Delete(ctx, &namespace, client.Preconditions{UID: &namespace.UID, ResourceVersion: &namespace.ResourceVersion})
	if client.IgnoreNotFound(err) != nil {
		return "", fmt.Errorf("delete namespace %s: %w", namespace.Name, err)
	}
	return fmt.Sprintf("namespace %s, which was created for it, goes too", namespace.Name), nil
}

// isSystem names namespaces that no annotation makes a clone's.
func (r *Reconciler) isSystem(namespace string) bool {
	return namespace == metav1.NamespaceDefault || strings.HasPrefix(namespace, "kube-") || namespace == r.Records.Namespace
}

// foreign names something in a namespace that is not of the restore; "" when
// there is nothing.
func (r *Reconciler) foreign(ctx context.Context, restore *api.Restore, namespace *corev1.Namespace) (string, error) {
	for _, kind := range lookedFor {
		empty := &metav1.PartialObjectMetadataList{}
		empty.SetGroupVersionKind(kind.GroupVersion().WithKind(kind.Kind + "List"))
		for list, err := range paged.Pages(ctx, r.Client, empty, client.InNamespace(namespace.Name)) {
			if err != nil {
				return "", fmt.Errorf("list %s of %s: %w", kind.Kind, namespace.Name, err)
			}
			for i := range list.Items {
				if !ofRestore(restore, namespace, kind.Kind, &list.Items[i]) {
					return kind.Kind + " " + list.Items[i].Name, nil
				}
			}
		}
	}
	return "", nil
}

// ofRestore tells whether an object was made by the restore, belongs to an object
// that is looked at itself, or is in every namespace.
func ofRestore(restore *api.Restore, namespace *corev1.Namespace, kind string, o *metav1.PartialObjectMetadata) bool {
	if uid := o.Labels[api.RestoreUIDLabel]; uid != "" && (uid == string(restore.UID) || uid == namespace.Labels[api.RestoreUIDLabel]) {
		return true
	}
	for _, owner := range o.OwnerReferences {
		if slices.ContainsFunc(lookedFor, func(k schema.GroupVersionKind) bool {
			return k.Kind == owner.Kind && k.GroupVersion().String() == owner.APIVersion
		}) {
			return true
		}
	}
	switch kind {
	case "Restore":
		return o.UID == restore.UID
	case "ConfigMap":
		return o.Name == "kube-root-ca.crt"
	case "ServiceAccount":
		return o.Name == "default"
	case "Secret":
		return o.Annotations[corev1.ServiceAccountNameKey] != ""
	}
	return false
}
