package e2e

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/integration/harness"
)

// TestFilesWhenSomebodyDies kills what takes a backup of files at each of its steps: it
// ends well, or failed with a reason; nobody is held for longer than the bound; nothing
// is left.
func TestFilesWhenSomebodyDies(t *testing.T) {
	t.Parallel()
	c := suite.Cluster(t)
	ctx := bounded(t, 12*time.Minute)
	o := deployed(ctx, t, c, 3, onLocalPath(c, t))
	c = killable(ctx, t, c, o.Namespace, catalogOnDisk())
	first := c.Backup(t, o.Namespace, "first", api.BackupSpec{}, backupWithin)
	writers := filepath.Join(catalogFolder(ctx, t, c), "v1", "files", first.Status.Volumes[0].File.Repository, "writers")

	for _, tt := range []struct {
		name string
		// amid is the phase in which it is killed. In Finishing, nobody can begin to write
		// into the bucket meanwhile, so that nothing was read of a copier yet.
		amid   api.Phase
		kill   func(context.Context, *testing.T, *harness.Cluster, string)
		end    api.Phase
		reason string
	}{
		{"controller in the cut", api.PhaseCutting, killController, "", ""},
		{"copier while it is copied", api.PhaseFinishing, killCopier, api.PhaseFailed, api.ReasonCopierLost},
		{"controller while it is copied", api.PhaseFinishing, killController, api.PhaseCompleted, api.ReasonCompleted},
		{"controller and a copier", api.PhaseFinishing, func(ctx context.Context, t *testing.T, c *harness.Cluster, namespace string) {
			killController(ctx, t, c, namespace)
			killCopier(ctx, t, c, namespace)
		}, api.PhaseFailed, api.ReasonCopierLost},
	} {
		t.Run(tt.name, func(t *testing.T) {
			writer := writing(ctx, t, c, o.Namespace, "writer", "--rate", "30", "--user-dbs", "0")
			if tt.amid == api.PhaseFinishing {
				closed(t, writers)
			}
			b, err := c.CreateBackup(ctx, o.Namespace, strings.ReplaceAll(tt.name, " ", "-"), api.BackupSpec{Attempts: 1})
			if err != nil {
				t.Fatal(err)
			}
			if b, err = c.WaitBackup(ctx, b, backupWithin, func(b *api.Backup) bool { return b.Status.Phase == tt.amid }); err != nil {
				t.Fatal(err)
			}
			killed := time.Now()
			tt.kill(ctx, t, c, o.Namespace)
			// A pause has two seconds, whoever is dead.
			if first := firstWriteAfter(ctx, t, writer, killed); first.Sub(killed) > 4*time.Second {
				t.Errorf("writes went on only %s after the kill", first.Sub(killed))
			}
			opened(t, writers)
			if b, err = c.WaitBackup(ctx, b, backupWithin, nil); err != nil {
				t.Fatal(err)
			}
			why := harness.Reason(b.Status.Conditions)
			t.Logf("%s for %s: %s", b.Status.Phase, why, harness.Message(b.Status.Conditions))
			if tt.end != "" && (b.Status.Phase != tt.end || why != tt.reason) || why == "" {
				t.Errorf("it is %s for %s, want %s for %s", b.Status.Phase, why, tt.end, tt.reason)
			}
			nothingLeft(ctx, t, c, o.Namespace, nil)
			stopped(ctx, t, writer)
		})
	}
	t.Run("controller while all are held", func(t *testing.T) { killedWhileHeld(ctx, t, c, o) })
	// What failed has left nothing that stands in the way of the next.
	last := c.Backup(t, o.Namespace, "last", api.BackupSpec{}, backupWithin)
	if last.Status.Volumes[0].File.Repository != first.Status.Volumes[0].File.Repository {
		t.Error("another repository was begun")
	}
}

// killCopier kills the copier beside one node.
func killCopier(ctx context.Context, t *testing.T, c *harness.Cluster, namespace string) {
	t.Helper()
	var pods corev1.PodList
	if err := c.Client.List(ctx, &pods, client.InNamespace(namespace), client.MatchingLabels{api.RoleLabel: "copier", api.NodeLabel: "couchdb-2"}); err != nil || len(pods.Items) == 0 {
		t.Fatalf("no copier: %v", err)
	}
	kill(t, processes(t, pods.Items[0].UID, "serve"))
}

// catalogFolder is where the catalog of a controller of a test lies on this machine.
func catalogFolder(ctx context.Context, t *testing.T, c *harness.Cluster) string {
	t.Helper()
	var claims corev1.PersistentVolumeClaimList
	if err := c.Client.List(ctx, &claims, client.InNamespace(c.ControllerHome())); err != nil || len(claims.Items) != 1 {
		t.Fatalf("%d claims of the controller: %v", len(claims.Items), err)
	}
	var volume corev1.PersistentVolume
	if err := c.Client.Get(ctx, client.ObjectKey{Name: claims.Items[0].Spec.VolumeName}, &volume); err != nil {
		t.Fatal(err)
	}
	path := ""
	switch {
	case volume.Spec.HostPath != nil:
		path = volume.Spec.HostPath.Path
	case volume.Spec.Local != nil:
		path = volume.Spec.Local.Path
	}
	for _, below := range []string{"", "catalog"} {
		if _, err := os.Stat(filepath.Join(path, below, "cht-catalog.json")); err == nil {
			return filepath.Join(path, below)
		}
	}
	t.Fatalf("no catalog in %q", path)
	return ""
}

// closed lets nobody but root write into a folder of a catalog until the test ends, or it
// is opened.
func closed(t *testing.T, folder string) {
	t.Helper()
	if err := os.Chmod(folder, 0o500); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { opened(t, folder) })
}

func opened(t *testing.T, folder string) {
	t.Helper()
	if err := os.Chmod(folder, 0o770); err != nil && !os.IsNotExist(err) { //nolint:gosec // as the controller made it
		t.Error(err)
	}
}
