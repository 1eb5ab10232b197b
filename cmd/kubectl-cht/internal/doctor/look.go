package doctor

import (
	"context"
	"errors"
	"fmt"
	"slices"

	snapv1 "github.com/kubernetes-csi/external-snapshotter/client/v8/apis/volumesnapshot/v1"
	appsv1 "k8s.io/api/apps/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/snapshot/catalog"
	"github.com/medic/cht-backup/snapshot/paged"
)

// Look sees what there is in a namespace, or in all for "", with the user's rights.
// Without the Backups and Restores nothing can be judged; whatever else may not be
// looked at is noted. system is the namespace of the controller that is meant; records
// are looked for with the others, too.
func Look(ctx context.Context, c client.Client, namespace, system string, others ...string) (Cluster, error) {
	w := Cluster{Namespace: namespace, System: system, TakenOver: map[types.UID]bool{}, InUse: map[string]bool{}, Holds: map[string]Holding{}, Unseen: map[string]string{}}
	in := client.InNamespace(namespace)
	for _, part := range []struct {
		kind string
		look func() error
	}{
		{kindControllers, func() error { return w.lookAtController(ctx, c) }},
		{kindPods, func() (err error) {
			w.Pods, err = metadata(ctx, c, corev1.SchemeGroupVersion.WithKind("Pod"), in, client.HasLabels{api.RoleLabel})
			return err
		}},
		{kindClaims, func() (err error) {
			w.Claims, err = metadata(ctx, c, corev1.SchemeGroupVersion.WithKind("PersistentVolumeClaim"), in, client.HasLabels{api.RestoreUIDLabel})
			return err
		}},
		{kindSnapshots, func() error {
			return paged.Each(ctx, c, &snapv1.VolumeSnapshotList{}, func(l *snapv1.VolumeSnapshotList) {
				for _, s := range l.Items {
					if s.Labels[api.BackupUIDLabel] != "" || s.Labels[api.RestoreUIDLabel] != "" {
						w.Snapshots = append(w.Snapshots, s)
					} else {
						w.TakenOver[s.UID] = true
					}
				}
			}, in)
		}},
		{kindContents, func() error { return w.lookAtContents(ctx, c) }},
		{kindVolumes, func() error { return w.lookAtVolumes(ctx, c) }},
		{kindNamespaces, func() error { return w.lookAtNamespaces(ctx, c) }},
		{kindRecords, func() (err error) {
			for _, one := range slices.Compact(slices.Sorted(slices.Values(append([]string{system}, others...)))) {
				parts, listErr := catalog.Store{Client: c, Namespace: one}.Parts(ctx, namespace)
				w.Records, err = append(w.Records, parts...), errors.Join(err, listErr)
			}
			return err
		}},
	} {
		if err := w.note(part.kind, part.look()); err != nil {
			return w, err
		}
	}
	// The owners last: whoever made what was seen so far is there by now, or gone.
	if err := paged.Each(ctx, c, &api.BackupList{}, func(l *api.BackupList) {
		for i := range l.Items {
			if !l.Items[i].IsImported() { // it has nothing that could be left over
				w.Backups = append(w.Backups, l.Items[i])
			}
		}
	}, in); err != nil {
		return w, fmt.Errorf("list backups: %w", err)
	}
	if err := paged.Each(ctx, c, &api.RestoreList{}, func(l *api.RestoreList) { w.Restores = append(w.Restores, l.Items...) }, in); err != nil {
		return w, fmt.Errorf("list restores: %w", err)
	}
	return w, w.lookAtUse(ctx, c)
}

// note keeps why something could not be looked at; other errors end the look.
func (w *Cluster) note(kind string, err error) error {
	switch {
	case err == nil:
		return nil
	case apierrors.IsForbidden(err):
		w.Unseen[kind] = "you may not look at them"
	case meta.IsNoMatchError(err):
		w.Unseen[kind] = "this cluster does not know them"
	default:
		return fmt.Errorf("look at %s: %w", kind, err)
	}
	return nil
}

func (w *Cluster) lookAtController(ctx context.Context, c client.Client) error {
	var deployments appsv1.DeploymentList
	if err := c.List(ctx, &deployments, client.InNamespace(w.System), client.MatchingLabels{controllerLabel: controllerName}, client.Limit(paged.Size)); err != nil {
		return err
	}
	w.Controllers = deployments.Items
	// Each leads by a Lease of its own name. The one that was renewed longest ago tells.
	for i := range w.Controllers {
		var lease coordinationv1.Lease
		err := c.Get(ctx, client.ObjectKey{Namespace: w.System, Name: w.Controllers[i].Name}, &lease)
		switch {
		case apierrors.IsForbidden(err):
			return nil // the Deployment tells enough
		case client.IgnoreNotFound(err) != nil:
			return err
		case err == nil && lease.Spec.RenewTime != nil && (w.Lease == nil || lease.Spec.RenewTime.Before(w.Lease.Spec.RenewTime)):
			w.Lease = &lease
		}
	}
	return nil
}

func (w *Cluster) lookAtContents(ctx context.Context, c client.Client) error {
	return paged.Each(ctx, c, &snapv1.VolumeSnapshotContentList{}, func(l *snapv1.VolumeSnapshotContentList) {
		for _, content := range l.Items {
			if ref := content.Spec.VolumeSnapshotRef; w.inScope(ref.Namespace) {
				w.Contents = append(w.Contents, content)
			}
		}
	})
}

func (w *Cluster) lookAtVolumes(ctx context.Context, c client.Client) error {
	for _, label := range []string{api.RestoreUIDLabel, api.SetAsideLabel} {
		if err := paged.Each(ctx, c, &corev1.PersistentVolumeList{}, func(l *corev1.PersistentVolumeList) {
			for _, v := range l.Items {
				if label == api.SetAsideLabel && v.Labels[api.RestoreUIDLabel] != "" {
					continue // seen already
				}
				w.Volumes = append(w.Volumes, v)
			}
		}, client.HasLabels{label}); err != nil {
			return err
		}
	}
	return nil
}

func (w *Cluster) lookAtNamespaces(ctx context.Context, c client.Client) error {
	all, err := metadata(ctx, c, corev1.SchemeGroupVersion.WithKind("Namespace"))
	for _, n := range all {
		if n.Annotations[api.ScratchForAnnotation] != "" || n.Annotations[api.CreatedForAnnotation] != "" {
			w.Namespaces = append(w.Namespaces, n)
		}
	}
	return err
}

// metadata lists objects without what they hold.
func metadata(ctx context.Context, c client.Client, kind schema.GroupVersionKind, opts ...client.ListOption) (all []metav1.PartialObjectMetadata, err error) {
	empty := &metav1.PartialObjectMetadataList{}
	empty.SetGroupVersionKind(kind.GroupVersion().WithKind(kind.Kind + "List"))
	err = paged.Each(ctx, c, empty, func(l *metav1.PartialObjectMetadataList) {
		for _, o := range l.Items {
			o.SetGroupVersionKind(kind)
			all = append(all, o)
		}
	}, opts...)
	return all, err
}

// lives tells whether a Restore with that UID is there.
func (w *Cluster) lives(uid types.UID) bool {
	for i := range w.Restores {
		if w.Restores[i].UID == uid {
			return true
		}
	}
	return false
}
