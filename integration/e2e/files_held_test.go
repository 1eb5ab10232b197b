package e2e

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/integration/cht"
	"github.com/medic/cht-backup/integration/harness"
)

// killedWhileHeld kills the controller while every CouchDB of the instance stands still
// for a backup of its files: all run again by themselves, and the backup is taken again.
func killedWhileHeld(ctx context.Context, t *testing.T, c *harness.Cluster, o cht.Options) {
	writer := writing(ctx, t, c, o.Namespace, "writer", "--rate", "30", "--user-dbs", "0")
	vms := machines(ctx, t, c, o.Namespace)
	for try := range 4 {
		controller, err := c.ControllerPod(ctx)
		if err != nil {
			t.Fatal(err)
		}
		pids := processes(t, controller.UID, "controller")
		b, err := c.CreateBackup(ctx, o.Namespace, fmt.Sprintf("held-%d", try), api.BackupSpec{Attempts: 2})
		if err != nil {
			t.Fatal(err)
		}
		if b, err = c.WaitBackup(ctx, b, backupWithin, func(b *api.Backup) bool { return b.Status.Phase != "" && b.Status.Phase != api.PhasePending }); err != nil {
			t.Fatal(err)
		}
		// Some 30 ms, for which a watch is too slow: the processes themselves are looked at.
		for len(standing(vms)) < len(vms) && ctx.Err() == nil {
			time.Sleep(200 * time.Microsecond)
		}
		kill(t, pids)
		killed, held := time.Now(), standing(vms)
		for len(standing(vms)) > 0 && ctx.Err() == nil {
			time.Sleep(time.Millisecond)
		}
		if ctx.Err() != nil {
			t.Fatalf("%d of %d CouchDBs stand still for good", len(standing(vms)), len(vms))
		}
		t.Logf("%d of %d stood still when the controller was dead, all run %s later", len(held), len(vms), time.Since(killed).Round(time.Millisecond))
		// A pause has two seconds, whoever is dead.
		if first := firstWriteAfter(ctx, t, writer, killed); first.Sub(killed) > 4*time.Second {
			t.Errorf("writes went on only %s after the kill", first.Sub(killed))
		}
		if b, err = c.WaitBackup(ctx, b, backupWithin, nil); err != nil {
			t.Fatal(err)
		}
		if b.Status.Phase != api.PhaseCompleted {
			t.Errorf("it is %s for %s: %s", b.Status.Phase, harness.Reason(b.Status.Conditions), harness.Message(b.Status.Conditions))
		}
		if len(held) == 0 {
			continue // they had been let go, too late to be of use
		}
		if b.Status.Attempt != 2 {
			t.Errorf("it is complete after %d attempts: what was measured by who is dead counts", b.Status.Attempt)
		}
		nothingLeft(ctx, t, c, o.Namespace, b)
		stopped(ctx, t, writer)
		return
	}
	t.Error("the controller was never killed before all were let go")
}

// machines are the Erlang VMs of an instance, by their ids on this machine.
func machines(ctx context.Context, t *testing.T, c *harness.Cluster, namespace string) (pids []int) {
	t.Helper()
	var pods corev1.PodList
	if err := c.Client.List(ctx, &pods, client.InNamespace(namespace), client.HasLabels{cht.Label}); err != nil {
		t.Fatal(err)
	}
	var couch []types.UID
	for _, p := range pods.Items {
		if strings.HasPrefix(p.Labels[cht.Label], "couchdb") {
			couch = append(couch, p.UID)
		}
	}
	comms, err := filepath.Glob("/proc/[0-9]*/comm")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range comms {
		comm, _ := os.ReadFile(file)
		group, err := os.ReadFile(filepath.Join(filepath.Dir(file), "cgroup"))
		if err != nil || string(comm) != "beam.smp\n" || !slices.ContainsFunc(couch, func(uid types.UID) bool { return bytes.Contains(group, []byte(uid)) }) {
			continue
		}
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(file)))
		if err != nil {
			t.Fatal(err)
		}
		pids = append(pids, pid)
	}
	if len(pids) != len(couch) || len(pids) == 0 {
		t.Fatalf("%d pods of CouchDB and %d processes of theirs", len(couch), len(pids))
	}
	return pids
}

// standing are those of some processes that are stopped.
func standing(pids []int) (still []int) {
	for _, pid := range pids {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil {
			continue
		}
		if i := bytes.LastIndex(stat, []byte(") ")); i >= 0 && bytes.HasPrefix(stat[i+2:], []byte("T")) {
			still = append(still, pid)
		}
	}
	return still
}
