package main

import (
	"context"
	"fmt"

	snapv1 "github.com/kubernetes-csi/external-snapshotter/client/v8/apis/volumesnapshot/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	storagev1 "k8s.io/api/storage/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/integration/hollow"
)

// backups of the fleet that are there.
func (f *fleet) backups(ctx context.Context) ([]api.Backup, error) {
	var list api.BackupList
	if err := f.client.List(ctx, &list, client.MatchingLabels{mark: "true"}); err != nil {
		return nil, fmt.Errorf("list backups: %w", err)
	}
	return list.Items, nil
}

// discard deletes all schedules and backups of the fleet, with a controller that is
// in no hurry about its limits: how long that takes is not measured.
func (f *fleet) discard(ctx context.Context) (err error) {
	if err := f.remove(ctx, &api.BackupScheduleList{}); err != nil {
		return err
	}
	left, err := f.backups(ctx)
	if err != nil || len(left) == 0 {
		return err
	}
	p, err := f.startController(ctx, f.o.parallel, 2*workers, 1000)
	if err != nil {
		return err
	}
	defer func() { p.stop() }()
	err = all(ctx, len(left), func(ctx context.Context, i int) error { return forget(f.client.Delete(ctx, &left[i])) })
	if err != nil {
		return fmt.Errorf("delete backups: %w", err)
	}
	return f.gone(ctx, "the end of the backups", func() (int, error) {
		left, err := f.backups(ctx)
		return len(left), err
	})
}

// sweep removes all that carries the mark, of this run or an earlier one, and fails
// if something stays.
func (f *fleet) sweep(ctx context.Context) error {
	if f.kubeconfig == "" { // an earlier run's backups need a controller to go
		if left, err := f.backups(ctx); err != nil {
			return err
		} else if len(left) > 0 {
			if err := f.makeHome(ctx, f.binary.dir); err != nil {
				return err
			}
		}
	}
	if err := f.discard(ctx); err != nil {
		return err
	}
	contents, err := f.contents(ctx)
	if err != nil {
		return err
	}
	for i := range contents { // of a run that was killed with its controller
		if err := f.client.Delete(ctx, &contents[i]); forget(err) != nil {
			return err
		}
	}
	var spaces corev1.NamespaceList
	if err := f.client.List(ctx, &spaces, client.MatchingLabels{mark: "true"}); err != nil {
		return err
	}
	err = all(ctx, len(spaces.Items), func(ctx context.Context, i int) error { return forget(f.client.Delete(ctx, &spaces.Items[i])) })
	if err != nil {
		return fmt.Errorf("delete namespaces: %w", err)
	}
	for _, kind := range []client.ObjectList{&corev1.NamespaceList{}, &corev1.PersistentVolumeList{}, &storagev1.CSIDriverList{}, &snapv1.VolumeSnapshotClassList{},
		&rbacv1.ClusterRoleBindingList{}, &rbacv1.ClusterRoleList{}, &corev1.NodeList{}} {
		if err := f.remove(ctx, kind); err != nil {
			return err
		}
	}
	if err := f.node().Forget(ctx); err != nil {
		return err
	}
	f.kubeconfig = ""
	return f.gone(ctx, "the end of VolumeSnapshotContents", func() (int, error) {
		left, err := f.contents(ctx)
		return len(left), err
	})
}

// remove deletes all of a kind that carry the mark, and waits until they are gone.
func (f *fleet) remove(ctx context.Context, kind client.ObjectList) error {
	what := fmt.Sprintf("the end of all in %T", kind)
	asked := map[client.ObjectKey]bool{}
	return f.gone(ctx, what, func() (int, error) {
		list := kind.DeepCopyObject().(client.ObjectList)
		if err := f.client.List(ctx, list, client.HasLabels{mark}); err != nil {
			return 0, err
		}
		n := 0
		err := hollow.EachItem(list, func(o client.Object) error {
			n++
			if asked[client.ObjectKeyFromObject(o)] || o.GetDeletionTimestamp() != nil {
				return nil
			}
			asked[client.ObjectKeyFromObject(o)] = true
			return forget(f.client.Delete(ctx, o))
		})
		return n, err
	})
}
