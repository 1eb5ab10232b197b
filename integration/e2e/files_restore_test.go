package e2e

import (
	"bytes"
	"context"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/integration/cht"
	"github.com/medic/cht-backup/integration/cht/load"
	"github.com/medic/cht-backup/integration/harness"
)

// TestFilesRestored loses an instance whose volumes nothing can snapshot, and brings it
// back from its files: live, on the same kind of storage, then as a clone on another.
func TestFilesRestored(t *testing.T) {
	t.Parallel()
	c := suite.Cluster(t)
	ctx := bounded(t, 10*time.Minute)
	o := deployed(ctx, t, c, 3, onLocalPath(c, t))
	b := c.Backup(t, o.Namespace, "b", api.BackupSpec{AllowedNamespaces: []string{"*"}}, backupWithin)
	source := dumped(ctx, t, c, o, o.Namespace)
	if err := c.DeleteNamespace(ctx, o.Namespace); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { discardKept(t, c, b) })
	for _, test := range []struct {
		target, class string
		live          bool
	}{{o.Namespace + "-new", onDisk, true}, {o.Namespace + "-clone", "loop", false}} {
		if err := c.CreateNamespace(ctx, test.target); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := c.DeleteNamespace(context.Background(), test.target); err != nil {
				t.Error(err)
			}
		})
		spec := sourceOf(b)
		spec.GoLive, spec.Verify = test.live, api.VerifyFull
		if test.class != onDisk {
			spec.Remap = &api.Remap{StorageClassName: test.class}
		}
		r := c.Restore(t, test.target, "r", spec, restoreWithin)
		fromFiles(ctx, t, c, r, test.class)
		if diff := load.Diff(without(source, "\x00"), without(dumped(ctx, t, c, o, test.target), "\x00")); len(diff) > 0 {
			t.Errorf("%s: %d differences, the first: %v", test.target, len(diff), diff[:min(5, len(diff))])
		}
	}
}

// fromFiles fails unless every claim of a restore was filled from files, in that class.
func fromFiles(ctx context.Context, t *testing.T, c *harness.Cluster, r *api.Restore, class string) {
	t.Helper()
	for _, v := range r.Status.Volumes {
		if f := v.Filled; f == nil || f.Total.IsZero() || f.Done.Cmp(f.Total) != 0 || f.StorageClass != class || !v.Prepared {
			t.Errorf("%s: %+v, %+v", v.Node, v, f)
		}
	}
	for _, claim := range claims(ctx, t, c, r.Namespace) {
		if claim.Spec.DataSource != nil || *claim.Spec.StorageClassName != class {
			t.Errorf("claim %s is of class %s and made from %+v", claim.Name, *claim.Spec.StorageClassName, claim.Spec.DataSource)
		}
	}
	var pods corev1.PodList
	if err := c.Client.List(ctx, &pods, client.InNamespace(r.Namespace), client.MatchingLabels{api.RoleLabel: "prepare-volume"}); err != nil || len(pods.Items) > 0 {
		t.Errorf("%d pods of ours are left (%v)", len(pods.Items), err)
	}
}

// TestCopyRestored restores the copy of the files that was made beside a snapshot, on
// storage that could not read the snapshot, and proves it by a drill.
func TestCopyRestored(t *testing.T) {
	t.Parallel()
	c := suite.Cluster(t)
	if !c.Local {
		t.Skip("needs a storage class local-path, which the testbed has")
	}
	ctx := bounded(t, 8*time.Minute)
	o := deployed(ctx, t, c, 1, nil)
	b := guardedBackup(t, c, o.Namespace, "both", api.BackupSpec{File: &api.FilePolicy{Copy: true}, AllowedNamespaces: []string{"*"}})
	clone := c.TempNamespace(t, "clone")
	spec := sourceOf(b)
	spec.Remap = &api.Remap{StorageClassName: onDisk} // Auto: the snapshot cannot fill such a claim
	r := c.Restore(t, clone, "r", spec, restoreWithin)
	fromFiles(ctx, t, c, r, onDisk)
	if !slices.ContainsFunc(r.Status.Plan.Warnings, func(w string) bool { return strings.Contains(w, "filled from the files in the catalog") }) {
		t.Errorf("the plan does not say why: %q", r.Status.Plan.Warnings)
	}
	if diff := load.Diff(without(dumped(ctx, t, c, o, o.Namespace), "\x00"), without(dumped(ctx, t, c, o, clone), "\x00")); len(diff) > 0 {
		t.Errorf("%d differences, the first: %v", len(diff), diff[:min(5, len(diff))])
	}
	spec = sourceOf(b)
	spec.Drill, spec.DataFrom = &api.Drill{}, api.DataFile
	if r := c.Restore(t, o.Namespace, "drill", spec, restoreWithin); r.Status.Verification == nil || !strings.Contains(planText(r), "and fill it with") {
		t.Errorf("%+v\n%s", r.Status.Verification, planText(r))
	}
}

// TestFillingThatIsDisturbed restores an instance in place from its files, and is told what
// of them is damaged; then filler and controller are killed in the middle of it.
func TestFillingThatIsDisturbed(t *testing.T) {
	t.Parallel()
	c := suite.Cluster(t)
	ctx := bounded(t, 12*time.Minute)
	o := deployed(ctx, t, c, 1, onLocalPath(c, t))
	c = killable(ctx, t, c, o.Namespace, catalogOnDisk())
	first := c.Backup(t, o.Namespace, "first", api.BackupSpec{}, backupWithin)
	packs := filepath.Join(catalogFolder(ctx, t, c), "v1", "files", first.Status.Volumes[0].File.Repository, "packs")
	before := folder(t, packs)
	// Its files come last in each range, and are in a pack of their own.
	put(ctx, t, c, o, "/zzz", "")
	for _, id := range []string{"a", "b", "c", "d"} {
		put(ctx, t, c, o, "/zzz/"+id, `{"of":"the second backup"}`)
	}
	c.Backup(t, o.Namespace, "second", api.BackupSpec{}, backupWithin)
	own := slices.DeleteFunc(folder(t, packs), func(name string) bool { return slices.Contains(before, name) })
	if len(own) == 0 {
		t.Fatal("the second backup has no pack of its own")
	}
	put(ctx, t, c, o, "/yyy", "") // so that the list of the files is none of the second's
	last := c.Backup(t, o.Namespace, "last", api.BackupSpec{}, backupWithin)
	source := dumped(ctx, t, c, o, o.Namespace)
	spec := sourceOf(last)
	spec.InPlace = &api.InPlace{SafetyBackup: api.SafetyBackupSkip}

	for _, test := range []struct {
		name   string
		damage func([]byte) []byte // nil takes it away
	}{
		{"missing", nil},
		{"truncated", func(b []byte) []byte { return b[:16] }},
		{"flipped", func(b []byte) []byte {
			b = bytes.Clone(b)
			for i := range b {
				b[i] ^= 1
			}
			return b
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			for _, name := range own {
				spoiled(t, filepath.Join(packs, name), test.damage)
			}
			r, err := c.CreateRestore(ctx, o.Namespace, test.name, spec)
			if err == nil {
				r, err = c.WaitRestore(ctx, r, restoreWithin, nil)
			}
			if err != nil {
				t.Fatal(err)
			}
			said := harness.Message(r.Status.Conditions)
			if r.Status.Phase != api.PhaseFailed || harness.Reason(r.Status.Conditions) != api.ReasonRepositoryDamaged {
				t.Errorf("%s for %s: %s", r.Status.Phase, harness.Reason(r.Status.Conditions), said)
			}
			if !slices.ContainsFunc(own, func(name string) bool { return strings.Contains(said, name) }) || !strings.Contains(said, "data/") {
				t.Errorf("neither the pack nor the file is named: %s", said)
			}
			deleteRestore(ctx, t, c, r)
			for _, claim := range claims(ctx, t, c, o.Namespace) {
				if claim.Name != o.Claim(0) && claim.DeletionTimestamp == nil {
					t.Errorf("claim %s is left", claim.Name)
				}
			}
		})
	}

	t.Run("killed", func(t *testing.T) {
		for _, name := range own {
			unreadable(t, filepath.Join(packs, name))
		}
		r, err := c.CreateRestore(ctx, o.Namespace, "killed", spec)
		if err != nil {
			t.Fatal(err)
		}
		halfway := func(r *api.Restore) bool {
			f := volumeFilled(r)
			return ended(r) || f != nil && !f.Done.IsZero() && f.Done.Cmp(f.Total) < 0 && strings.Contains(harness.Message(r.Status.Conditions), "tried again")
		}
		reached(ctx, t, c, r, halfway)
		was := fillerPod(ctx, t, c, o.Namespace, "")
		kill(t, processes(t, was.UID, "fill"))
		fillerPod(ctx, t, c, o.Namespace, string(was.UID))
		reached(ctx, t, c, r, halfway)
		killController(ctx, t, c, o.Namespace)
		for _, name := range own {
			readable(t, filepath.Join(packs, name))
		}
		if r, err = c.WaitRestore(ctx, r, restoreWithin, nil); err != nil || r.Status.Phase != api.PhaseCompleted {
			t.Fatalf("it is %s for %s: %s (%v)", r.Status.Phase, harness.Reason(r.Status.Conditions), harness.Message(r.Status.Conditions), err)
		}
		if diff := load.Diff(without(source, "\x00"), without(dumped(ctx, t, c, o, o.Namespace), "\x00")); len(diff) > 0 {
			t.Errorf("%d differences, the first: %v", len(diff), diff[:min(5, len(diff))])
		}
		discardSetAside(t, c, o.Namespace)
	})
}

func volumeFilled(r *api.Restore) *api.Filled {
	if len(r.Status.Volumes) == 0 {
		return nil
	}
	return r.Status.Volumes[0].Filled
}

// fillerPod waits for a pod whose filler runs and that is another than that one.
func fillerPod(ctx context.Context, t *testing.T, c *harness.Cluster, namespace, than string) *corev1.Pod {
	t.Helper()
	for {
		var pods corev1.PodList
		if err := c.Client.List(ctx, &pods, client.InNamespace(namespace), client.MatchingLabels{api.RoleLabel: "prepare-volume"}); err != nil {
			t.Fatalf("no filler: %v", err)
		}
		for i := range pods.Items {
			p := &pods.Items[i]
			if string(p.UID) != than && len(p.Status.InitContainerStatuses) > 0 && p.Status.InitContainerStatuses[0].State.Running != nil {
				return p
			}
		}
		time.Sleep(200 * time.Millisecond)
	}
}

func put(ctx context.Context, t *testing.T, c *harness.Cluster, o cht.Options, path, body string) {
	t.Helper()
	r, err := http.NewRequestWithContext(ctx, http.MethodPut, "http://"+o.Servers()[0]+":5984"+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.SetBasicAuth(o.User, o.Password)
	r.Header.Set("Content-Type", "application/json")
	answer, err := c.Transport().RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	if _ = answer.Body.Close(); answer.StatusCode > 202 {
		t.Fatalf("PUT %s: %s", path, answer.Status)
	}
}

// folder names the files in a folder of a catalog, and below it.
func folder(t *testing.T, path string) (names []string) {
	t.Helper()
	err := filepath.WalkDir(path, func(file string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			name, _ := filepath.Rel(path, file)
			names = append(names, name)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}

// spoiled damages a file until the test ends.
func spoiled(t *testing.T, file string, how func([]byte) []byte) {
	t.Helper()
	whole, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	aside := file + ".aside"
	if err := os.Rename(file, aside); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.Rename(aside, file); err != nil {
			t.Error(err)
		}
	})
	if how == nil {
		return
	}
	if err := os.WriteFile(file, how(whole), 0o644); err != nil { //nolint:gosec // the controller has to read it
		t.Fatal(err)
	}
}

// unreadable keeps all but root from reading a file, until the test ends or it is readable.
func unreadable(t *testing.T, file string) {
	t.Helper()
	if err := os.Chmod(file, 0); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { readable(t, file) })
}

func readable(t *testing.T, file string) {
	t.Helper()
	if err := os.Chmod(file, 0o640); err != nil && !os.IsNotExist(err) { //nolint:gosec // as the controller made it
		t.Error(err)
	}
}
