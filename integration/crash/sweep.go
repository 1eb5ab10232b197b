package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	snapv1 "github.com/kubernetes-csi/external-snapshotter/client/v8/apis/volumesnapshot/v1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/integration/harness"
)

// guarded is when all volumes are thawed from outside, whatever becomes of everybody, and
// again after as long. A volume that needs it has broken a promise, which the writer sees:
// it waits for as long.
const guarded = 2 * time.Minute

// guard keeps a thaw armed until it is disarmed.
func guard(ctx context.Context, c *harness.Cluster) (disarm func(), err error) {
	arm := func() (*os.Process, error) {
		out, err := c.Testbed(ctx, "arm-thaw", guarded.String())
		if err != nil {
			return nil, fmt.Errorf("arm a thaw from outside: %w", err)
		}
		pid, err := strconv.Atoi(out)
		if err != nil {
			return nil, fmt.Errorf("arm a thaw from outside: %q is no process", out)
		}
		return os.FindProcess(pid)
	}
	first, err := arm()
	if err != nil {
		return nil, err
	}
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		armed := first
		for {
			select {
			case <-stop:
				_ = armed.Kill() // it has ended when it has fired
				return
			case <-time.After(guarded / 2):
				// The next is armed before this one is let go.
				if next, err := arm(); err == nil {
					_ = armed.Kill()
					armed = next
				}
			}
		}
	}()
	return func() { close(stop); <-done }, nil
}

// pauseInstalled stops the controller that tests have installed: it would do what the
// ones of this program do.
func pauseInstalled(ctx context.Context, c *harness.Cluster) (resume func(), err error) {
	scale := func(ctx context.Context, to int) error {
		d := &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Namespace: harness.ControllerNamespace, Name: harness.ControllerName}}
		return client.IgnoreNotFound(c.Client.Patch(ctx, d, client.RawPatch(types.MergePatchType, fmt.Appendf(nil, `{"spec":{"replicas":%d}}`, to))))
	}
	if err := scale(ctx, 0); err != nil {
		return nil, err
	}
	return func() { _ = scale(context.WithoutCancel(ctx), 1) }, until(ctx, time.Minute, func(ctx context.Context) error {
		var pods corev1.PodList
		if err := c.Client.List(ctx, &pods, client.InNamespace(harness.ControllerNamespace)); err != nil {
			return err
		}
		if len(pods.Items) > 0 {
			return fmt.Errorf("%d pods are in %s", len(pods.Items), harness.ControllerNamespace)
		}
		return nil
	})
}

// sweep removes all that carries the mark, of this run or of an earlier one that was
// killed, whoever holds it.
func sweep(ctx context.Context, c *harness.Cluster) error {
	var spaces corev1.NamespaceList
	if err := c.Client.List(ctx, &spaces, client.HasLabels{mark}); err != nil {
		return err
	}
	ours := map[string]bool{}
	for i := range spaces.Items {
		name := spaces.Items[i].Name
		ours[name] = true
		if err := errors.Join(client.IgnoreNotFound(c.Client.Delete(ctx, &spaces.Items[i])), letGo(ctx, c, name)); err != nil {
			return err
		}
	}
	for _, o := range []client.Object{&rbacv1.ClusterRoleBinding{}, &rbacv1.ClusterRole{}} {
		if err := c.Client.DeleteAllOf(ctx, o, client.HasLabels{mark}); err != nil {
			return err
		}
	}
	mine := func(namespace string) bool {
		base, _, _ := strings.Cut(namespace, "-scratch-")
		return ours[namespace] || ours[base]
	}
	return until(ctx, 3*time.Minute, func(ctx context.Context) error {
		var contents snapv1.VolumeSnapshotContentList
		var volumes corev1.PersistentVolumeList
		if err := errors.Join(c.Client.List(ctx, &spaces, client.HasLabels{mark}), c.Client.List(ctx, &contents), c.Client.List(ctx, &volumes)); err != nil {
			return err
		}
		left := len(spaces.Items)
		for i := range contents.Items {
			if o := &contents.Items[i]; mine(o.Spec.VolumeSnapshotRef.Namespace) {
				left++
				if err := removeFrom(ctx, c, o, `{"spec":{"deletionPolicy":"Delete"}}`); err != nil {
					return err
				}
			}
		}
		for i := range volumes.Items {
			if o := &volumes.Items[i]; o.Spec.ClaimRef != nil && mine(o.Spec.ClaimRef.Namespace) && o.Status.Phase == corev1.VolumeReleased {
				left++
				if err := removeFrom(ctx, c, o, `{"spec":{"persistentVolumeReclaimPolicy":"Delete"}}`); err != nil {
					return err
				}
			}
		}
		if left > 0 {
			return fmt.Errorf("%d namespaces and objects of this program are there yet", left)
		}
		return nil
	})
}

// removeFrom deletes an object with what it stands for in the storage.
func removeFrom(ctx context.Context, c *harness.Cluster, o client.Object, policy string) error {
	if err := c.Client.Patch(ctx, o, client.RawPatch(types.MergePatchType, []byte(policy))); client.IgnoreNotFound(err) != nil {
		return err
	}
	if _, is := o.(*corev1.PersistentVolume); is {
		return nil // the provisioner does, with the volume
	}
	return client.IgnoreNotFound(c.Client.Delete(ctx, o))
}

// letGo takes the finalizers of the product's objects, whose controller is gone.
func letGo(ctx context.Context, c *harness.Cluster, namespace string) error {
	var restores api.RestoreList
	var backups api.BackupList
	err := errors.Join(c.Client.List(ctx, &restores, client.InNamespace(namespace)), c.Client.List(ctx, &backups, client.InNamespace(namespace)))
	var all []client.Object
	for i := range restores.Items {
		all = append(all, &restores.Items[i])
	}
	for i := range backups.Items {
		all = append(all, &backups.Items[i])
	}
	for _, o := range all {
		err = errors.Join(err, client.IgnoreNotFound(c.Client.Patch(ctx, o, client.RawPatch(types.MergePatchType, []byte(`{"metadata":{"finalizers":null}}`)))))
	}
	return err
}
