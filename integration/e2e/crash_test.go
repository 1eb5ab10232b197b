package e2e

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/integration/cht"
	"github.com/medic/cht-backup/integration/harness"
)

// TestHoldEndsWithItsOwner breaks what holds the nodes, in the middle of a hold
// that would otherwise last, and sees from outside that writes go on, that none
// failed, and that the backup ends clearly with nothing left behind.
func TestHoldEndsWithItsOwner(t *testing.T) {
	c := suite.Cluster(t)
	if !c.Local {
		t.Skip("kills processes by id, on the testbed's machine only")
	}
	ctx := bounded(t, 20*time.Minute)
	o := deployed(ctx, t, c, 3, nil)
	// The driver takes much longer than the bound, so that the hold is still there
	// when it is broken.
	class := c.SnapshotClass(t, map[string]string{"hang": "12s", "hangThen": "cut"})
	for _, test := range []struct {
		name    string
		quiesce api.Quiesce
		bound   time.Duration
		kill    func(ctx context.Context, t *testing.T, c *harness.Cluster, namespace string)
		reasons []string
	}{
		{"controller, frozen", api.QuiesceFreeze, 10 * time.Second, killController, []string{api.ReasonInterrupted}},
		{"freezer, frozen", api.QuiesceFreeze, 10 * time.Second, killFreezer("guard"), []string{api.ReasonQuiesceLost}},
		{"watchdog, frozen", api.QuiesceFreeze, 10 * time.Second, killFreezer("watch"), []string{api.ReasonQuiesceLost}},
		{"holding process, frozen", api.QuiesceFreeze, 10 * time.Second, killFreezer("hold"), []string{api.ReasonQuiesceLost}},
		{"stream, frozen", api.QuiesceFreeze, 10 * time.Second, cutStreams, []string{api.ReasonQuiesceLost, api.ReasonSnapshotFailed}},
		// A pause lasts two seconds at most, so here the deadline may come first.
		{"controller, paused", api.QuiescePause, 2 * time.Second, killController, []string{api.ReasonInterrupted, api.ReasonStallExceeded}},
		{"holding process, paused", api.QuiescePause, 2 * time.Second, killPauser, []string{api.ReasonQuiesceLost, api.ReasonStallExceeded}},
		{"stream, paused", api.QuiescePause, 2 * time.Second, cutStreams, []string{api.ReasonQuiesceLost, api.ReasonStallExceeded, api.ReasonSnapshotFailed}},
	} {
		t.Run(test.name, func(t *testing.T) {
			thaw, err := c.ArmThaw(t, 40*time.Second)
			if err != nil {
				t.Fatal(err)
			}
			writer := writing(ctx, t, c, o.Namespace, "writer", "--rate", "30", "--user-dbs", "0")
			b, err := c.CreateBackup(ctx, o.Namespace, "crash-"+fmt.Sprint(time.Now().UnixNano()), bounds(test.quiesce, test.bound, class))
			if err != nil {
				t.Fatal(err)
			}
			// Cutting is written down just before the hold; the writer's silence shows the hold.
			if b, err = c.WaitBackup(ctx, b, backupWithin, func(b *api.Backup) bool {
				return b.Status.Phase != "" && b.Status.Phase != api.PhasePending && b.Status.Phase != api.PhasePreparing
			}); err != nil {
				t.Fatal(err)
			}
			asked := time.Now()
			if test.quiesce == api.QuiesceFreeze {
				time.Sleep(time.Second) // well inside a hold of ten
			} else {
				time.Sleep(300 * time.Millisecond)
			}
			test.kill(ctx, t, c, o.Namespace)
			killed := time.Now()
			resumed := firstWriteAfter(ctx, t, writer, killed)
			if thaw.Disarm() {
				t.Error("only the thaw from outside ended it")
			}
			t.Logf("writes went on %s after the kill, %s after the hold began", resumed.Sub(killed).Round(time.Millisecond), resumed.Sub(asked).Round(time.Millisecond))
			if test.quiesce == api.QuiesceFreeze && resumed.Sub(asked) > test.bound {
				t.Errorf("writes went on only after %s, the bound is %s", resumed.Sub(asked), test.bound)
			}
			if b, err = c.WaitBackup(ctx, b, backupWithin, nil); err != nil {
				t.Fatal(err)
			}
			why := harness.Reason(b.Status.Conditions)
			if b.Status.Phase != api.PhaseFailed || !slices.Contains(test.reasons, why) {
				t.Errorf("the backup is %s for %s, want Failed for one of %v", b.Status.Phase, why, test.reasons)
			}
			nothingLeft(ctx, t, c, o.Namespace, nil)
			stopped(ctx, t, writer)
		})
	}
}

func bounds(quiesce api.Quiesce, maxStall time.Duration, class string) api.BackupSpec {
	spec := api.BackupSpec{Quiesce: quiesce, VolumeSnapshotClassName: &class, Attempts: 1}
	spec.MaxStall.Duration = maxStall
	return spec
}

// firstWriteAfter waits for an acknowledgement that came after that moment.
func firstWriteAfter(ctx context.Context, t *testing.T, writer *harness.Load, moment time.Time) time.Time {
	t.Helper()
	for ctx.Err() == nil {
		first := int64(0)
		for _, w := range writer.Writes() {
			if w.Acknowledged() && w.End > moment.UnixNano() && (first == 0 || w.End < first) {
				first = w.End
			}
		}
		if first != 0 {
			return time.Unix(0, first)
		}
		time.Sleep(20 * time.Millisecond) // the log comes when it comes
	}
	t.Fatal("no write was acknowledged any more")
	return time.Time{}
}

// TestHungSnapshot lets the storage hang: writers stall until the bound and see
// no error, the backup fails and leaves nothing.
func TestHungSnapshot(t *testing.T) {
	c := suite.Cluster(t)
	if !c.Local {
		t.Skip("needs the test driver's knob that hangs")
	}
	ctx := bounded(t, 10*time.Minute)
	o := deployed(ctx, t, c, 3, nil)
	class := c.SnapshotClass(t, map[string]string{"hang": "12s", "hangThen": "cut"})
	for _, quiesce := range []api.Quiesce{api.QuiesceFreeze, api.QuiescePause} {
		t.Run(string(quiesce), func(t *testing.T) {
			c.ThawGuard(t, 2*time.Minute)
			writer := writing(ctx, t, c, o.Namespace, "writer", "--rate", "30", "--user-dbs", "0")
			spec := bounds(quiesce, 2*time.Second, class)
			spec.Attempts = 3 // and yet it stalls writers only once
			b := failed(ctx, t, c, o.Namespace, spec, api.ReasonStallExceeded, "maxStall", "Raise maxStall")
			if b.Status.Attempt != 1 {
				t.Errorf("it was tried %d times: each try stalls the writers for all of maxStall", b.Status.Attempt)
			}
			stopped(ctx, t, writer)
			nothingLeft(ctx, t, c, o.Namespace, nil)
			deleteBackup(ctx, t, c, b)
		})
	}
}

// TestRefusedSnapshot lets the driver fail at first: the backup tries again, and
// leaves nothing of the first try.
func TestRefusedSnapshot(t *testing.T) {
	t.Parallel()
	c := suite.Cluster(t)
	if !c.Local {
		t.Skip("needs the test driver's knob that fails")
	}
	ctx := bounded(t, 10*time.Minute)
	o := deployed(ctx, t, c, 1, nil)
	class := c.SnapshotClass(t, map[string]string{"failCode": "Internal", "failTimes": "1"})
	b := c.Backup(t, o.Namespace, "b", api.BackupSpec{VolumeSnapshotClassName: &class}, backupWithin)
	if b.Status.Attempt != 2 {
		t.Errorf("it took %d attempts, want 2", b.Status.Attempt)
	}
	nothingLeft(ctx, t, c, o.Namespace, b)
	always := c.SnapshotClass(t, map[string]string{"failCode": "Internal"})
	failed(ctx, t, c, o.Namespace, api.BackupSpec{VolumeSnapshotClassName: &always, Attempts: 2}, api.ReasonSnapshotFailed, o.Claim(0))
	nothingLeft(ctx, t, c, o.Namespace, b)
}

func killController(ctx context.Context, t *testing.T, c *harness.Cluster, _ string) {
	t.Helper()
	pod, err := c.ControllerPod(ctx)
	if err != nil {
		t.Fatal(err)
	}
	kill(t, processes(t, pod.UID, "controller"))
}

// killFreezer kills, in the first freezer pod, the processes that run that
// subcommand.
func killFreezer(command string) func(context.Context, *testing.T, *harness.Cluster, string) {
	return func(ctx context.Context, t *testing.T, c *harness.Cluster, namespace string) {
		t.Helper()
		var pods corev1.PodList
		if err := c.Client.List(ctx, &pods, client.InNamespace(namespace), client.HasLabels{api.RoleLabel}); err != nil || len(pods.Items) == 0 {
			t.Fatalf("no freezer pod: %v", err)
		}
		kill(t, processes(t, pods.Items[0].UID, command))
	}
}

// killPauser kills every process of the pause script in one CouchDB container but
// the ones that end the pause when the others are gone.
func killPauser(ctx context.Context, t *testing.T, c *harness.Cluster, namespace string) {
	t.Helper()
	var pods corev1.PodList
	if err := c.Client.List(ctx, &pods, client.InNamespace(namespace), client.MatchingLabels{cht.Label: "couchdb-2"}); err != nil || len(pods.Items) == 0 {
		t.Fatalf("no pod couchdb-2: %v", err)
	}
	all := processes(t, pods.Items[0].UID, "cht-pause")
	kill(t, all[:1]) // the shell that exec started: the oldest
}

// cutStreams closes every connection between the controller and the API server,
// the exec streams among them.
func cutStreams(ctx context.Context, t *testing.T, c *harness.Cluster, _ string) {
	t.Helper()
	pod, err := c.ControllerPod(ctx)
	if err != nil {
		t.Fatal(err)
	}
	out, err := c.Testbed(ctx, "node-exec", "--", "ss", "-K", "-tnH", "dst", pod.Status.PodIP)
	if err != nil || strings.Count(out, "ESTAB") < 3 { // the streams; what carries all the rest may just have been lost on a busy machine
		t.Fatalf("cut the controller's connections: %q %v", out, err)
	}
}

func kill(t *testing.T, pids []int) {
	t.Helper()
	if len(pids) == 0 {
		t.Fatal("there is no such process")
	}
	for _, pid := range pids {
		if err := unix.Kill(pid, unix.SIGKILL); err != nil {
			t.Fatalf("kill %d: %v", pid, err)
		}
	}
}
