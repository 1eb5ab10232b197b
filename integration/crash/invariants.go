package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	snapv1 "github.com/kubernetes-csi/external-snapshotter/client/v8/apis/volumesnapshot/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/snapshot/catalog"
)

// settlesWithin is how long what is over may take to leave nothing.
const settlesWithin = time.Minute

// judge looks whether the instance works and whether anything is there that belongs to
// nothing. kept is a backup that has just ended.
func (w *world) judge(ctx context.Context, kept *api.Backup) error {
	if err := until(ctx, settlesWithin, func(ctx context.Context) error { return w.orphans(ctx) }); err != nil {
		return fmt.Errorf("left behind: %w", err)
	}
	if kept != nil && kept.Status.Phase == api.PhaseCompleted {
		if err := w.complete(ctx, kept); err != nil {
			return err
		}
	}
	at, _ := w.writer.state()
	return until(ctx, settlesWithin, func(context.Context) error {
		if now, _ := w.writer.state(); now < at+3 {
			return errors.New("no write is acknowledged any more")
		}
		return nil
	})
}

// owners are the UIDs of the backups that may have something: the completed ones.
func (w *world) owners(ctx context.Context) (map[string]bool, error) {
	var backups api.BackupList
	if err := w.c.Client.List(ctx, &backups, client.InNamespace(w.name)); err != nil {
		return nil, err
	}
	uids := map[string]bool{}
	for _, b := range backups.Items {
		if b.Status.Phase == api.PhaseCompleted && b.DeletionTimestamp == nil {
			uids[string(b.UID)] = true
		}
	}
	return uids, nil
}

// orphans names what is there of nobody's.
func (w *world) orphans(ctx context.Context) error {
	owners, err := w.owners(ctx)
	if err != nil {
		return err
	}
	var pods corev1.PodList
	var snapshots snapv1.VolumeSnapshotList
	var contents snapv1.VolumeSnapshotContentList
	var volumes corev1.PersistentVolumeList
	var claims corev1.PersistentVolumeClaimList
	var spaces corev1.NamespaceList
	if err := errors.Join(w.c.Client.List(ctx, &pods, client.HasLabels{api.RoleLabel}), w.c.Client.List(ctx, &snapshots), w.c.Client.List(ctx, &contents),
		w.c.Client.List(ctx, &volumes), w.c.Client.List(ctx, &claims, client.InNamespace(w.name)), w.c.Client.List(ctx, &spaces)); err != nil {
		return err
	}
	var left []string
	note := func(format string, args ...any) { left = append(left, fmt.Sprintf(format, args...)) }
	for _, p := range pods.Items {
		if w.ours(p.Namespace) {
			note("pod %s/%s", p.Namespace, p.Name)
		}
	}
	there := map[string]bool{}
	for _, s := range snapshots.Items {
		if !w.ours(s.Namespace) {
			continue
		}
		there[s.Namespace+"/"+s.Name] = true
		if s.Namespace != w.name || !owners[s.Labels[api.BackupUIDLabel]] {
			note("snapshot %s/%s", s.Namespace, s.Name)
		}
	}
	for _, c := range contents.Items {
		if ref := c.Spec.VolumeSnapshotRef; w.ours(ref.Namespace) && !there[ref.Namespace+"/"+ref.Name] {
			note("content %s of snapshot %s/%s", c.Name, ref.Namespace, ref.Name)
		}
	}
	for _, v := range volumes.Items {
		if ref := v.Spec.ClaimRef; ref != nil && w.ours(ref.Namespace) && (v.Status.Phase != corev1.VolumeBound || v.Spec.PersistentVolumeReclaimPolicy != corev1.PersistentVolumeReclaimDelete) {
			note("volume %s of claim %s/%s, %s, %s", v.Name, ref.Namespace, ref.Name, v.Status.Phase, v.Spec.PersistentVolumeReclaimPolicy)
		}
	}
	for _, c := range claims.Items {
		if c.Name != w.o.Claim(0) && c.Name != w.o.Claim(1) {
			note("claim %s", c.Name)
		}
	}
	for _, n := range spaces.Items {
		if strings.HasPrefix(n.Annotations[api.ScratchForAnnotation], w.name+"/") {
			note("scratch namespace %s", n.Name)
		}
	}
	heads, err := catalog.Store{Client: w.c.Client, Namespace: w.home}.List(ctx, w.name)
	if err != nil {
		return err
	}
	for _, h := range heads {
		if !owners[string(h.UID)] {
			note("record %s", h.Secret)
		}
	}
	for _, key := range w.store.keys("/heads/") {
		if !slices.ContainsFunc(slices.Collect(maps.Keys(owners)), func(uid string) bool { return strings.Contains(key, uid) }) {
			note("%s in the bucket", key)
		}
	}
	if len(left) > 0 {
		return errors.New(strings.Join(left, "; "))
	}
	return nil
}

// ours tells whether a namespace is of this world. Those of clones are looked at by left.
func (w *world) ours(namespace string) bool {
	return namespace == w.name || namespace == w.home || strings.HasPrefix(namespace, w.name+"-scratch-")
}

// complete fails if a completed backup lacks what makes it one.
func (w *world) complete(ctx context.Context, b *api.Backup) error {
	heads, err := catalog.Store{Client: w.c.Client, Namespace: w.home}.List(ctx, w.name)
	if err != nil {
		return err
	}
	at := slices.IndexFunc(heads, func(h catalog.Head) bool { return h.UID == b.UID })
	if at < 0 {
		return fmt.Errorf("backup %s is completed and has no record", b.Name)
	}
	record, err := catalog.Store{Client: w.c.Client, Namespace: w.home}.Get(ctx, heads[at].Secret)
	if err != nil || len(record.Nodes) != nodes {
		return fmt.Errorf("backup %s is completed; its record has %d nodes: %w", b.Name, len(record.Nodes), err)
	}
	for _, v := range b.Status.Volumes {
		if v.Snapshot == "" {
			continue
		}
		var s snapv1.VolumeSnapshot
		if err := w.c.Client.Get(ctx, client.ObjectKey{Namespace: w.name, Name: v.Snapshot}, &s); err != nil || s.Status == nil || s.Status.ReadyToUse == nil || !*s.Status.ReadyToUse {
			return fmt.Errorf("backup %s is completed; its snapshot %s is not ready: %v %w", b.Name, v.Snapshot, s.Status, err)
		}
	}
	return nil
}

// left fails if a restore's namespace has what must go with it; the namespace goes then.
func (w *world) left(ctx context.Context, namespace string) error {
	if namespace == "" {
		return nil
	}
	err := until(ctx, settlesWithin, func(ctx context.Context) error {
		var pods corev1.PodList
		var snapshots snapv1.VolumeSnapshotList
		var contents snapv1.VolumeSnapshotContentList
		if err := errors.Join(w.c.Client.List(ctx, &pods, client.InNamespace(namespace), client.HasLabels{api.RoleLabel}),
			w.c.Client.List(ctx, &snapshots, client.InNamespace(namespace)), w.c.Client.List(ctx, &contents)); err != nil {
			return err
		}
		n := len(pods.Items) + len(snapshots.Items)
		for _, c := range contents.Items {
			if c.Spec.VolumeSnapshotRef.Namespace == namespace {
				n++
			}
		}
		if n > 0 {
			return fmt.Errorf("%d pods and %d snapshots of %d with contents are left in %s", len(pods.Items), len(snapshots.Items), n, namespace)
		}
		return nil
	})
	return errors.Join(err, client.IgnoreNotFound(w.c.Client.Delete(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}})))
}
