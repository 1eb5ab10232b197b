package e2e

import (
	"context"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/integration/cht"
	"github.com/medic/cht-backup/integration/harness"
)

// failed takes a backup that must fail for that reason, and gives it back.
func failed(ctx context.Context, t *testing.T, c *harness.Cluster, namespace string, spec api.BackupSpec, why string, says ...string) *api.Backup {
	t.Helper()
	b, err := c.CreateBackup(ctx, namespace, "bad-"+strings.ToLower(why), spec)
	if err == nil {
		b, err = c.WaitBackup(ctx, b, backupWithin, nil)
	}
	if err != nil {
		t.Fatal(err)
	}
	judge(t, "backup", b.Status.Phase, b.Status.Conditions, why, says)
	return b
}

// refused is failed for a restore.
func refused(ctx context.Context, t *testing.T, c *harness.Cluster, namespace string, spec api.RestoreSpec, why string, says ...string) *api.Restore {
	t.Helper()
	r, err := c.CreateRestore(ctx, namespace, "bad-"+strings.ToLower(why), spec)
	if err == nil {
		r, err = c.WaitRestore(ctx, r, restoreWithin, nil)
	}
	if err != nil {
		t.Fatal(err)
	}
	judge(t, "restore", r.Status.Phase, r.Status.Conditions, why, says)
	return r
}

func judge(t *testing.T, what string, phase api.Phase, conditions []metav1.Condition, why string, says []string) {
	t.Helper()
	ready := meta.FindStatusCondition(conditions, api.ConditionReady)
	if phase != api.PhaseFailed || ready == nil || ready.Status != metav1.ConditionFalse || ready.Reason != why {
		t.Fatalf("the %s is %s with %+v, want Failed for %s", what, phase, ready, why)
	}
	for _, word := range says {
		if !strings.Contains(ready.Message, word) {
			t.Errorf("the message does not say %q: %s", word, ready.Message)
		}
	}
	t.Logf("%s: %s", why, ready.Message)
}

func TestBackupRefusals(t *testing.T) {
	c := suite.Cluster(t)
	ctx := bounded(t, 12*time.Minute)
	t.Run("no instance", func(t *testing.T) {
		failed(ctx, t, c, c.TempNamespace(t, "empty"), api.BackupSpec{}, api.ReasonNoInstance, "check the namespace")
	})
	t.Run("driver without class", func(t *testing.T) {
		if !c.Local {
			t.Skip("needs the testbed's storage class nosnap")
		}
		o := deployed(ctx, t, c, 1, func(o *cht.Options) { o.StorageClass, o.Components = "nosnap", cht.Components{} })
		failed(ctx, t, c, o.Namespace, api.BackupSpec{Method: api.MethodCSI}, api.ReasonNoSnapshotClass, "nosnap.csi.cht-backup.test", o.Claim(0), "create one")
		nothingLeft(ctx, t, c, o.Namespace, nil)
	})

	o := deployed(ctx, t, c, 3, func(o *cht.Options) { o.Components = cht.Components{} })
	t.Run("class that does not exist", func(t *testing.T) {
		nope := "nope"
		failed(ctx, t, c, o.Namespace, api.BackupSpec{VolumeSnapshotClassName: &nope}, api.ReasonNoSnapshotClass, `nope`, "loop")
	})
	t.Run("concurrent backup", func(t *testing.T) {
		if !c.Local {
			t.Skip("needs the test driver's knob that keeps a backup busy")
		}
		class := c.SnapshotClass(t, map[string]string{"readyLatency": "10s"})
		first, err := c.CreateBackup(ctx, o.Namespace, "first", api.BackupSpec{VolumeSnapshotClassName: &class})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.WaitBackup(ctx, first, backupWithin, func(b *api.Backup) bool { return b.Status.Phase == api.PhaseFinishing }); err != nil {
			t.Fatal(err)
		}
		failed(ctx, t, c, o.Namespace, api.BackupSpec{}, api.ReasonConcurrentOperation, "first", "wait until it ends")
		if first, err = c.WaitBackup(ctx, first, backupWithin, nil); err != nil || first.Status.Phase != api.PhaseCompleted {
			t.Errorf("the first backup was disturbed: %v %v", first.Status.Phase, err)
		}
		nothingLeft(ctx, t, c, o.Namespace, first)
	})
	t.Run("pod not ready", func(t *testing.T) {
		// No machine has that label: the new pod never runs.
		if _, err := c.Kube.AppsV1().Deployments(o.Namespace).Patch(ctx, "cht-couchdb-2", "application/strategic-merge-patch+json",
			[]byte(`{"spec":{"template":{"spec":{"nodeSelector":{"no":"where"}}}}}`), metav1.PatchOptions{}); err != nil {
			t.Fatal(err)
		}
		if err := c.Kube.CoreV1().Pods(o.Namespace).DeleteCollection(ctx, metav1.DeleteOptions{}, metav1.ListOptions{LabelSelector: cht.Label + "=couchdb-2"}); err != nil {
			t.Fatal(err)
		}
		failed(ctx, t, c, o.Namespace, api.BackupSpec{}, api.ReasonPodNotReady, "couchdb-2")
	})
}

func TestRestoreRefusals(t *testing.T) {
	t.Parallel()
	c := suite.Cluster(t)
	ctx := bounded(t, 10*time.Minute)
	o := deployed(ctx, t, c, 1, func(o *cht.Options) { o.Components = cht.Components{} })
	b := c.Backup(t, o.Namespace, "b", api.BackupSpec{}, backupWithin)
	target := c.TempNamespace(t, "target")

	t.Run("no such backup", func(t *testing.T) {
		refused(ctx, t, c, target, api.RestoreSpec{Source: api.BackupReference{Namespace: o.Namespace, Name: "nope"}}, api.ReasonBackupNotFound, o.Namespace+"/nope")
	})
	t.Run("not allowed", func(t *testing.T) {
		refused(ctx, t, c, target, sourceOf(b), api.ReasonNotAllowed, "allowedNamespaces", target)
	})
	allow(ctx, t, c, b, target)
	t.Run("target not empty", func(t *testing.T) {
		taken := &corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{Namespace: target, Name: o.Claim(0)}, Spec: corev1.PersistentVolumeClaimSpec{
			AccessModes: []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce}, Resources: corev1.VolumeResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceStorage: o.Size}}}}
		if err := c.Client.Create(ctx, taken); err != nil {
			t.Fatal(err)
		}
		refused(ctx, t, c, target, sourceOf(b), api.ReasonTargetNotEmpty, o.Claim(0), target, "empty namespace")
		if err := c.Client.Get(ctx, clientKey(taken), taken); err != nil || taken.DeletionTimestamp != nil {
			t.Errorf("the refusal touched what was there: %v", err)
		}
	})
	t.Run("over the source itself", func(t *testing.T) {
		refused(ctx, t, c, o.Namespace, sourceOf(b), api.ReasonTargetNotEmpty, o.Claim(0))
	})
	t.Run("name too long", func(t *testing.T) {
		_, err := c.CreateBackup(ctx, o.Namespace, strings.Repeat("a", 201), api.BackupSpec{})
		if err == nil || !strings.Contains(err.Error(), "longer than 200 characters") {
			t.Errorf("a name of 201 characters: %v", err)
		}
		longest := c.Backup(t, o.Namespace, strings.Repeat("a", 200), api.BackupSpec{}, backupWithin)
		deleteBackup(ctx, t, c, longest)
	})
}
