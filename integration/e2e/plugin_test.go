package e2e

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/integration/cht/load"
	"github.com/medic/cht-backup/integration/harness"
)

// plugin is kubectl-cht, built from the tree, with the rights of the cluster's owner.
type plugin struct{ binary, kubeconfig string }

func built(ctx context.Context, t *testing.T, c *harness.Cluster) plugin {
	t.Helper()
	p := plugin{filepath.Join(t.TempDir(), "kubectl-cht"), c.Kubeconfig}
	if out, err := exec.CommandContext(ctx, "go", "build", "-o", p.binary, "github.com/medic/cht-backup/cmd/kubectl-cht").CombinedOutput(); err != nil {
		t.Fatalf("build the plugin: %v\n%s", err, out)
	}
	return p
}

// run gives the exit code and what was printed; args are those of a shell.
func (p plugin) run(ctx context.Context, t *testing.T, args string) (code int, stdout, stderr string) {
	t.Helper()
	cmd, out, errOut := p.command(ctx, args)
	return exited(t, cmd.Run()), out.String(), errOut.String()
}

func (p plugin) command(ctx context.Context, args string) (cmd *exec.Cmd, stdout, stderr *shared) {
	stdout, stderr = &shared{}, &shared{}
	cmd = exec.CommandContext(ctx, p.binary, append([]string{"--kubeconfig", p.kubeconfig}, strings.Fields(args)...)...)
	cmd.Stdout, cmd.Stderr = stdout, stderr
	return cmd, stdout, stderr
}

func exited(t *testing.T, err error) int {
	t.Helper()
	var exit *exec.ExitError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &exit):
		return exit.ExitCode()
	}
	t.Fatal(err)
	return -1
}

// shared is a buffer that is read while another process fills it.
type shared struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *shared) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *shared) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// typed runs the plugin with a terminal on stdin, at which somebody types once he
// is asked.
func (p plugin) typed(ctx context.Context, t *testing.T, args, types string) (code int, stdout, stderr string) {
	t.Helper()
	person, seat, err := terminal()
	if err != nil {
		t.Fatalf("open a terminal: %v", err)
	}
	defer func() { _, _ = person.Close(), seat.Close() }()
	cmd, out, errOut := p.command(ctx, args)
	cmd.Stdin, cmd.Env = seat, append(os.Environ(), "TERM=xterm")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true, Ctty: 0}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	for {
		select {
		case err := <-ended:
			return exited(t, err), out.String(), errOut.String()
		case <-time.After(50 * time.Millisecond):
			if types != "" && strings.Contains(errOut.String(), "to go on: ") {
				if _, err := io.WriteString(person, types); err != nil {
					t.Fatal(err)
				}
				types = ""
			}
		}
	}
}

// terminal gives both ends of one.
func terminal() (person, seat *os.File, err error) {
	if person, err = os.OpenFile("/dev/ptmx", os.O_RDWR|syscall.O_NOCTTY, 0); err != nil {
		return nil, nil, err
	}
	fd := int(person.Fd())
	number, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err == nil {
		err = unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0)
	}
	if err == nil {
		seat, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|syscall.O_NOCTTY, 0)
	}
	return person, seat, err
}

// TestPlugin asks for restores as an operator does.
func TestPlugin(t *testing.T) {
	t.Parallel()
	c := suite.Cluster(t)
	ctx := bounded(t, 12*time.Minute)
	p := built(ctx, t, c)
	o := deployed(ctx, t, c, 1, nil)
	discardSetAside(t, c, o.Namespace)
	b := guardedBackup(t, c, o.Namespace, "b", api.BackupSpec{})
	backedUp := contents(ctx, t, c, o)
	later(ctx, t, c, o)
	now, former, replicas := contents(ctx, t, c, o), volumesOf(ctx, t, c, o), replicasIn(ctx, t, c, o.Namespace)
	clone := o.Namespace + "-plugin"
	t.Cleanup(func() {
		if err := c.DeleteNamespace(context.WithoutCancel(ctx), clone); err != nil {
			t.Error(err)
		}
	})
	from := fmt.Sprintf("restore --from %s/b ", o.Namespace)
	// nothing fails if anything is there that was not there before.
	nothing := func(t *testing.T) {
		t.Helper()
		var restores api.RestoreList
		if err := c.Client.List(ctx, &restores); err != nil {
			t.Fatal(err)
		}
		for _, r := range restores.Items {
			if r.Namespace == o.Namespace || r.Namespace == clone {
				t.Errorf("restore %s/%s is there (%s)", r.Namespace, r.Name, r.Status.Phase)
			}
		}
		if err := c.Client.Get(ctx, client.ObjectKey{Name: clone}, &corev1.Namespace{}); !apierrors.IsNotFound(err) {
			t.Errorf("namespace %s is there (%v)", clone, err)
		}
		var still api.Backup
		if err := c.Client.Get(ctx, client.ObjectKeyFromObject(b), &still); err != nil || len(still.Spec.AllowedNamespaces) > 0 {
			t.Errorf("the backup may be restored into %v (%v)", still.Spec.AllowedNamespaces, err)
		}
		if got := volumesOf(ctx, t, c, o); !slices.Equal(got, former) {
			t.Errorf("the volumes were %v and are %v", former, got)
		}
		if got := replicasIn(ctx, t, c, o.Namespace); got != replicas {
			t.Errorf("replicas were\n%s\nand are\n%s", replicas, got)
		}
	}
	expect := func(t *testing.T, what string, code, want int, text string, says ...string) {
		t.Helper()
		if code != want {
			t.Fatalf("%s: exit code %d, want %d:\n%s", what, code, want, text)
		}
		for _, s := range says {
			if !strings.Contains(text, s) {
				t.Errorf("%s: it does not say %q:\n%s", what, s, text)
			}
		}
	}

	for args, says := range map[string][]string{
		"--in-place":                 {"in place, the CHT of namespace " + o.Namespace, former[0], "everything written after", "nothing is left of it"},
		"--to " + clone:              {"isolated clone in namespace " + clone, "create NetworkPolicy", "nothing is left of it"},
		"--in-place -o yaml":         {"safetyBackup: Required", former[0], "planOnly: true"},
		"--database medic --replace": {"database medic in the place of the live one", "create namespace " + o.Namespace + "-scratch-", "what was written to medic after", "nothing is left of it"},
	} {
		t.Run("dry run "+args, func(t *testing.T) {
			code, out, errOut := p.run(ctx, t, from+args+" --dry-run")
			expect(t, args, code, 0, out+errOut, says...)
			nothing(t)
		})
	}
	for _, tt := range []struct {
		args string
		code int
		says []string
	}{
		{"--in-place", 2, []string{"nobody can be asked here", "--yes"}},
		{"--in-place --yes --storage-class no-such-class", 4, []string{"is refused (StorageClassMissing)", "--storage-class", "nothing was touched"}},
		{"--to " + clone + " --dry-run --zone nowhere", 4, []string{"is refused (NodeUnavailable)", "Choose one with --zone", "nothing was touched"}},
		{"--database none --dry-run", 4, []string{"is refused (DatabaseMissing)", "has no database none", "nothing was touched"}},
		{"--to " + o.Namespace, 4, []string{"holds a CHT already"}},
	} {
		t.Run("refused "+tt.args, func(t *testing.T) {
			code, out, errOut := p.run(ctx, t, from+tt.args)
			expect(t, tt.args, code, tt.code, out+errOut, tt.says...)
			nothing(t)
		})
	}
	for types, code := range map[string]int{"yes\n": 2, "\x03": 130, "\x04": 2} {
		t.Run(fmt.Sprintf("asked, %q typed", types), func(t *testing.T) {
			got, out, errOut := p.typed(ctx, t, from+"--in-place", types)
			expect(t, types, got, code, out+errOut, "Type the namespace's name ("+o.Namespace+")", "the planned restore is deleted, nothing was touched")
			nothing(t)
		})
	}

	t.Run("clone, aborted", func(t *testing.T) {
		code, out, errOut := p.run(ctx, t, from+"--to "+clone+" --couchdb-only --ttl 1h --name r --no-wait")
		expect(t, "clone", code, 0, out+errOut, "created namespace "+clone, "restore "+clone+"/r created")
		code, out, errOut = p.run(ctx, t, "restore abort r -n "+clone)
		expect(t, "abort", code, 0, out+errOut, "is Failed (Aborted)")
		code, out, errOut = p.run(ctx, t, "restore abort r -n "+clone)
		expect(t, "abort again", code, 4, out+errOut, "is Failed already")
		for got := holdings(ctx, t, c, clone); len(got) > 0; got = holdings(ctx, t, c, clone) {
			select {
			case <-ctx.Done():
				t.Fatalf("the clone still has %v", got)
			case <-time.After(200 * time.Millisecond):
			}
		}
		var n corev1.Namespace
		if err := c.Client.Get(ctx, client.ObjectKey{Name: clone}, &n); err != nil || n.Annotations[api.CreatedForAnnotation] != "r" {
			t.Errorf("namespace %s was created for %q (%v)", clone, n.Annotations[api.CreatedForAnnotation], err)
		}
	})

	t.Run("schedule, drill and status", func(t *testing.T) {
		in := " -n " + o.Namespace
		code, out, errOut := p.run(ctx, t, "status --exit-code"+in)
		expect(t, "status before", code, 6, out+errOut, "warning", "no schedule", "never proven by a restore")
		code, out, errOut = p.run(ctx, t, "schedule create yearly --schedule @yearly --time-zone Africa/Nairobi --keep-last 5"+in)
		expect(t, "create", code, 0, out+errOut, "schedule "+o.Namespace+"/yearly created", "1 Jan", "00:00 EAT")
		thaw(t, c)
		code, out, errOut = p.run(ctx, t, "schedule trigger yearly -o json"+in)
		var made api.Backup
		if err := yaml.Unmarshal([]byte(out), &made); code != 0 || err != nil || made.Status.Phase != api.PhaseCompleted || made.Labels[api.ScheduleLabel] != "yearly" ||
			made.Status.DataBytes == nil || *made.Status.DataBytes == 0 || made.Status.Documents == nil || *made.Status.Documents == 0 {
			t.Fatalf("trigger: exit code %d, stdout is not the completed Backup with its sizes (%v):\n%s%s", code, err, out, errOut)
		}
		code, out, errOut = p.run(ctx, t, "drill --verify Quick"+in)
		expect(t, "drill", code, 0, out+errOut, "the newest good backup is "+made.Name, "Backup "+o.Namespace+"/"+made.Name+" is proven (Quick)", "recovery took")
		code, out, errOut = p.run(ctx, t, "status --exit-code -o json"+in)
		var report struct {
			Instances []struct {
				State        string
				LastGood     struct{ Name, Schedule string }
				LastVerified struct{ Backup, Level string }
				NextRun      struct{ Schedule, TimeZone string }
				Trouble      []struct{ Words string }
			}
		}
		if err := yaml.Unmarshal([]byte(out), &report); code != 0 || err != nil || len(report.Instances) != 1 {
			t.Fatalf("status: exit code %d (%v):\n%s%s", code, err, out, errOut)
		}
		if i := report.Instances[0]; i.State != "ok" || i.LastGood.Name != made.Name || i.LastGood.Schedule != "yearly" || i.LastVerified.Backup != made.Name || i.LastVerified.Level != "Quick" || i.NextRun.TimeZone != "Africa/Nairobi" {
			t.Errorf("status: %+v", i)
		}
		code, out, errOut = p.run(ctx, t, "describe schedule yearly"+in)
		expect(t, "describe", code, 0, out+errOut, "@yearly (every year on 1 January at 00:00), Africa/Nairobi", "Next runs", made.Name)
		code, out, errOut = p.run(ctx, t, "schedule delete yearly"+in)
		expect(t, "delete", code, 0, out+errOut, "the backups that it has made stay: 1")
		deleteBackup(ctx, t, c, &made)
	})

	t.Run("in place, agreed to", func(t *testing.T) {
		thaw(t, c)
		code, out, errOut := p.typed(ctx, t, from+"--in-place --name back -o yaml", o.Namespace+"\n")
		expect(t, "in place", code, 0, errOut, "Plan of restore", "Type the namespace's name")
		var r api.Restore
		if err := yaml.Unmarshal([]byte(out), &r); err != nil || r.Status.Phase != api.PhaseCompleted || len(r.Status.Volumes) != 1 || r.Status.Volumes[0].SetAside != former[0] {
			t.Fatalf("stdout is not the completed Restore with %s set aside (%v):\n%s", former[0], err, out)
		}
		if diff := load.Diff(backedUp, contents(ctx, t, c, o)); len(diff) > 0 {
			t.Errorf("%d differences to the backup, the first: %v", len(diff), diff[:min(5, len(diff))])
		}
		code, out, errOut = p.run(ctx, t, "restore abort back -n "+o.Namespace)
		expect(t, "abort too late", code, 4, out+errOut, "is Completed already", "--from "+o.Namespace+"/"+r.Status.SafetyBackup+" --in-place")
		code, out, errOut = p.run(ctx, t, "describe restore back -n "+o.Namespace)
		expect(t, "describe", code, 0, out+errOut, former[0], r.Status.SafetyBackup, "Plan\n1. SafetyBackup")
		code, out, errOut = p.run(ctx, t, "list -n "+o.Namespace)
		expect(t, "list", code, 0, out+errOut, "VERIFIED", "Sample")
		// And forward again, as that message says.
		thaw(t, c)
		code, out, errOut = p.run(ctx, t, "restore --from "+o.Namespace+"/"+r.Status.SafetyBackup+" --in-place --no-safety-backup --yes")
		expect(t, "forward", code, 0, out+errOut, "is Completed", "none, as asked")
		if diff := load.Diff(now, contents(ctx, t, c, o)); len(diff) > 0 {
			t.Errorf("%d differences to before, the first: %v", len(diff), diff[:min(5, len(diff))])
		}
		deleteSafety(ctx, t, c, &r)
	})
	t.Run("one database", func(t *testing.T) {
		code, out, errOut := p.run(ctx, t, from+"--database medic --database-as medic-monday --name one")
		expect(t, "one database", code, 0, out+errOut, "restore "+o.Namespace+"/one is Completed", "Restored as:  medic-monday", "deleted ones included, are those of the backup")
		code, out, errOut = p.run(ctx, t, from+"--database medic --database-as medic-monday --name two")
		expect(t, "again", code, 1, out+errOut, "failed (DatabaseExists)", "--database-as")
	})
}
