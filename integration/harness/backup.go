package harness

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	snapv1 "github.com/kubernetes-csi/external-snapshotter/client/v8/apis/volumesnapshot/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/rand"
	"sigs.k8s.io/controller-runtime/pkg/client"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/snapshot/await"
)

// CreateBackup asks for a backup.
func (c *Cluster) CreateBackup(ctx context.Context, namespace, name string, spec api.BackupSpec) (*api.Backup, error) {
	b := &api.Backup{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}, Spec: spec}
	if err := c.Client.Create(ctx, b); err != nil {
		return nil, fmt.Errorf("create backup %s/%s: %w", namespace, name, err)
	}
	return b, nil
}

// WaitBackup watches a backup until done says so; nil waits for Completed or
// Failed, and a Failed one is returned like any other. Each change of phase is
// logged.
func (c *Cluster) WaitBackup(ctx context.Context, b *api.Backup, within time.Duration, done func(*api.Backup) bool) (*api.Backup, error) {
	if done == nil {
		done = func(b *api.Backup) bool { return final(b.Status.Phase) }
	}
	var list api.BackupList
	var last *api.Backup
	var said string
	err := c.watch(ctx, within, &list, b, func() string {
		if len(list.Items) == 0 {
			return "there is no such backup"
		}
		last = &list.Items[0]
		c.progress(&said, "backup", b, last.Status.Phase, last.Status.Conditions)
		if done(last) {
			return ""
		}
		return state(last.Status.Phase, last.Status.Conditions)
	})
	if err != nil {
		return last, fmt.Errorf("backup %s/%s: %w", b.Namespace, b.Name, err)
	}
	return last, nil
}

// Backup takes a backup and fails the test unless it is good.
func (c *Cluster) Backup(t testing.TB, namespace, name string, spec api.BackupSpec, within time.Duration) *api.Backup {
	t.Helper()
	b, err := c.CreateBackup(t.Context(), namespace, name, spec)
	if err == nil {
		b, err = c.WaitBackup(t.Context(), b, within, nil)
	}
	if err != nil {
		t.Fatal(err)
	}
	if b.Status.Phase != api.PhaseCompleted {
		t.Fatalf("backup %s/%s is %s", namespace, name, state(b.Status.Phase, b.Status.Conditions))
	}
	return b
}

// CreateRestore asks for a restore into a namespace, which must be there.
func (c *Cluster) CreateRestore(ctx context.Context, namespace, name string, spec api.RestoreSpec) (*api.Restore, error) {
	r := &api.Restore{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}, Spec: spec}
	if err := c.Client.Create(ctx, r); err != nil {
		return nil, fmt.Errorf("create restore %s/%s: %w", namespace, name, err)
	}
	return r, nil
}

// WaitRestore is WaitBackup for a restore.
func (c *Cluster) WaitRestore(ctx context.Context, r *api.Restore, within time.Duration, done func(*api.Restore) bool) (*api.Restore, error) {
	if done == nil {
		done = func(r *api.Restore) bool { return final(r.Status.Phase) }
	}
	var list api.RestoreList
	var last *api.Restore
	var said string
	err := c.watch(ctx, within, &list, r, func() string {
		if len(list.Items) == 0 {
			return "there is no such restore"
		}
		last = &list.Items[0]
		c.progress(&said, "restore", r, last.Status.Phase, last.Status.Conditions)
		if done(last) {
			return ""
		}
		return state(last.Status.Phase, last.Status.Conditions)
	})
	if err != nil {
		return last, fmt.Errorf("restore %s/%s: %w", r.Namespace, r.Name, err)
	}
	return last, nil
}

// Restore restores and fails the test unless it is good.
func (c *Cluster) Restore(t testing.TB, namespace, name string, spec api.RestoreSpec, within time.Duration) *api.Restore {
	t.Helper()
	r, err := c.CreateRestore(t.Context(), namespace, name, spec)
	if err == nil {
		r, err = c.WaitRestore(t.Context(), r, within, nil)
	}
	if err != nil {
		t.Fatal(err)
	}
	if r.Status.Phase != api.PhaseCompleted {
		t.Fatalf("restore %s/%s is %s", namespace, name, state(r.Status.Phase, r.Status.Conditions))
	}
	return r
}

// watch waits for one object, bounded; the error says in what state it was left.
func (c *Cluster) watch(ctx context.Context, within time.Duration, list client.ObjectList, o client.Object, waitingFor func() string) error {
	ctx, cancel := context.WithTimeoutCause(ctx, within, fmt.Errorf("not done after %s", within))
	defer cancel()
	return await.List(ctx, c.Client, list, func() (string, error) { return waitingFor(), nil },
		client.InNamespace(o.GetNamespace()), client.MatchingFields{"metadata.name": o.GetName()})
}

func (c *Cluster) progress(said *string, kind string, o client.Object, phase api.Phase, conditions []metav1.Condition) {
	if now := state(phase, conditions); now != *said {
		*said = now
		c.logf("%s %s %s/%s: %s", time.Now().Format("15:04:05.000"), kind, o.GetNamespace(), o.GetName(), now)
	}
}

func final(p api.Phase) bool { return p == api.PhaseCompleted || p == api.PhaseFailed }

// state is a phase with its conditions in one line.
func state(phase api.Phase, conditions []metav1.Condition) string {
	parts := []string{string(phase)}
	if phase == "" {
		parts = []string{"not taken up yet"}
	}
	for _, one := range conditions {
		parts = append(parts, fmt.Sprintf("%s=%s %s: %s", one.Type, one.Status, one.Reason, one.Message))
	}
	return strings.Join(parts, ", ")
}

// Message is that of the Ready condition, with its reason.
func Message(conditions []metav1.Condition) string {
	if ready := meta.FindStatusCondition(conditions, api.ConditionReady); ready != nil {
		return ready.Reason + ": " + ready.Message
	}
	return "no condition Ready"
}

// Reason is that of the Ready condition.
func Reason(conditions []metav1.Condition) string {
	if ready := meta.FindStatusCondition(conditions, api.ConditionReady); ready != nil {
		return ready.Reason
	}
	return ""
}

// SnapshotClass makes a VolumeSnapshotClass of the cluster's default driver with
// these parameters, for one test. On the testbed the parameters are the driver's
// fault knobs: failCode, failTimes, hang, hangThen, cutLatency, cutStagger,
// ackLatency, readyLatency.
func (c *Cluster) SnapshotClass(t testing.TB, parameters map[string]string) string {
	t.Helper()
	return c.snapshotClass(t, snapv1.VolumeSnapshotContentDelete, parameters, nil)
}

// DefaultSnapshotClass is SnapshotClass, and the class is the default one until
// the test ends.
func (c *Cluster) DefaultSnapshotClass(t testing.TB, parameters map[string]string) {
	t.Helper()
	usual := c.defaultClass(t)
	set := func(ctx context.Context, value string) {
		patch := fmt.Sprintf(`{"metadata":{"annotations":{%q:%q}}}`, isDefault, value)
		if err := c.Client.Patch(ctx, usual.DeepCopy(), client.RawPatch(types.MergePatchType, []byte(patch))); err != nil {
			t.Errorf("make snapshot class %s default: %s: %v", usual.Name, value, err)
		}
	}
	c.snapshotClass(t, snapv1.VolumeSnapshotContentDelete, parameters, map[string]string{isDefault: "true"})
	t.Cleanup(func() { set(context.Background(), "true") })
	set(t.Context(), "false")
}

const isDefault = "snapshot.storage.kubernetes.io/is-default-class"

func (c *Cluster) defaultClass(t testing.TB) *snapv1.VolumeSnapshotClass {
	t.Helper()
	var classes snapv1.VolumeSnapshotClassList
	if err := c.Client.List(t.Context(), &classes); err != nil {
		t.Fatalf("list snapshot classes: %v", err)
	}
	for i := range classes.Items {
		if classes.Items[i].Annotations[isDefault] == "true" {
			return &classes.Items[i]
		}
	}
	t.Fatal("the cluster has no default snapshot class whose driver could be taken")
	return nil
}

func (c *Cluster) snapshotClass(t testing.TB, policy snapv1.DeletionPolicy, parameters, annotations map[string]string) string {
	t.Helper()
	class := &snapv1.VolumeSnapshotClass{ObjectMeta: metav1.ObjectMeta{Name: "e2e-" + rand.String(6), Annotations: annotations},
		Driver: c.defaultClass(t).Driver, DeletionPolicy: policy, Parameters: parameters}
	if err := c.Client.Create(t.Context(), class); err != nil {
		t.Fatalf("create snapshot class: %v", err)
	}
	t.Cleanup(func() {
		if err := c.Client.Delete(context.Background(), class); client.IgnoreNotFound(err) != nil {
			t.Errorf("delete snapshot class %s: %v", class.Name, err)
		}
	})
	return class.Name
}

// Leftovers lists what a backup must not leave behind in the cluster once it is
// over: freezer pods and snapshots of this namespace, and contents whose snapshot
// is gone. keep names snapshots that may stay.
func (c *Cluster) Leftovers(ctx context.Context, namespace string, keep ...string) ([]string, error) {
	kept := map[string]bool{}
	for _, name := range keep {
		kept[name] = true
	}
	var left []string
	var pods corev1.PodList
	var snapshots snapv1.VolumeSnapshotList
	var contents snapv1.VolumeSnapshotContentList
	err := errors.Join(c.Client.List(ctx, &pods, client.InNamespace(namespace), client.HasLabels{api.RoleLabel}),
		c.Client.List(ctx, &snapshots, client.InNamespace(namespace)), c.Client.List(ctx, &contents))
	for _, p := range pods.Items {
		left = append(left, "pod "+p.Name)
	}
	for _, s := range snapshots.Items {
		if !kept[s.Name] {
			left = append(left, "snapshot "+s.Name)
		}
	}
	for _, one := range contents.Items {
		if ref := one.Spec.VolumeSnapshotRef; ref.Namespace == namespace && !kept[ref.Name] {
			left = append(left, "snapshot content "+one.Name)
		}
	}
	return left, err
}
