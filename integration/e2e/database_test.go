package e2e

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/integration/cht"
	"github.com/medic/cht-backup/integration/cht/load"
	"github.com/medic/cht-backup/integration/harness"
	"github.com/medic/cht-backup/restore"
	"github.com/medic/cht-backup/snapshot/await"
)

func oneDatabase(b *api.Backup, d api.DatabaseRestore) api.RestoreSpec {
	spec := sourceOf(b)
	spec.Database = &d
	return spec
}

// renamed gives one database of a dump under another name.
func renamed(d *load.Dump, from, to string) *load.Dump {
	out := &load.Dump{Docs: map[load.Key]string{}, Locals: map[load.Key]string{}, Deleted: map[string]int64{to: d.Deleted[from]}}
	for k, rev := range d.Docs {
		if k.DB == from {
			out.Docs[load.Key{DB: to, ID: k.ID}] = rev
		}
	}
	return out
}

func only(d *load.Dump, db string) *load.Dump {
	return d.Only(func(name string) bool { return name == db })
}

// documents drops a dump's local documents, which no copy carries.
func documents(d *load.Dump) *load.Dump {
	return &load.Dump{Docs: d.Docs, Locals: map[load.Key]string{}, Deleted: d.Deleted}
}

func sameDump(t *testing.T, what string, want, got *load.Dump) {
	t.Helper()
	if diff := load.Diff(want, got); len(diff) > 0 {
		t.Errorf("%s: %d differences, the first: %v", what, len(diff), diff[:min(5, len(diff))])
	}
}

// TestOneDatabase restores one large database beside itself, while people write.
func TestOneDatabase(t *testing.T) {
	t.Parallel()
	c := suite.Cluster(t)
	ctx := bounded(t, 25*time.Minute)
	o := cht.Defaults(c.TempNamespace(t, "cht"), c.CHTImages())
	o.Components = cht.Components{HAProxy: true, Healthcheck: true}
	if err := c.Deploy(ctx, o); err != nil {
		t.Fatal(err)
	}
	if err := c.Seed(ctx, o.Namespace, "--docs", "100000", "--users", "2", "--attachments", "0.02"); err != nil {
		t.Fatal(err)
	}
	writer := writing(ctx, t, c, o.Namespace, "writer", "--rate", "40", "--prefix", "load-")
	b := guardedBackup(t, c, o.Namespace, "b", api.BackupSpec{})
	before := without(dumped(ctx, t, c, o, o.Namespace), "load-")

	begun := time.Now()
	r := c.Restore(t, o.Namespace, "r", oneDatabase(b, api.DatabaseRestore{Name: "medic"}), 15*time.Minute)
	took := time.Since(begun)
	stopped(ctx, t, writer)
	d := r.Status.Database
	if want := "medic-restored-" + b.Status.CutTime.UTC().Format("20060102-150405"); d == nil || d.As != want || d.Compared < 100000 {
		t.Fatalf("the status has %+v, want %s and all documents compared", d, want)
	}
	t.Logf("%s in %s: %s", d.As, took.Round(time.Second), harness.Message(r.Status.Conditions))

	after := dumped(ctx, t, c, o, o.Namespace)
	settled := without(after, "load-")
	sameDump(t, "the live databases", before, settled.Only(func(db string) bool { return db != d.As }))
	sameDump(t, d.As, documents(renamed(before, "medic", d.As)), documents(only(settled, d.As)))
	// The writer wrote to all databases; what it wrote to medic must be in the copy as
	// far as the cut goes.
	var writes []load.Write
	for _, w := range writer.Writes() {
		if w.DB == "medic" {
			w.DB = d.As
			writes = append(writes, w)
		}
	}
	if v := load.CheckWrites(only(after, d.As), writes, b.Status.Timeline.QuiesceStart.Time, b.Status.Timeline.Released.Time); !v.Good() {
		t.Errorf("writes: %s", v)
	} else {
		t.Logf("writes: %s", v)
	}
	if a, b := attachments(ctx, t, c, o, "medic"), attachments(ctx, t, c, o, d.As); a != b || !strings.Contains(a, "md5-") {
		t.Errorf("attachments are\n%s\nand in the copy\n%s", a, b)
	}
	scratchGone(ctx, t, c, r)

	t.Run("a second time", func(t *testing.T) {
		refused(ctx, t, c, o.Namespace, oneDatabase(b, api.DatabaseRestore{Name: "medic"}), api.ReasonDatabaseExists, d.As+" exists", "--database-as", "--replace")
	})
}

// attachments tells the digests of some attachments, as CouchDB has them.
func attachments(ctx context.Context, t *testing.T, c *harness.Cluster, o cht.Options, db string) string {
	t.Helper()
	out, err := c.ExecTool(ctx, o.Namespace, "get", "--url", "http://"+o.Servers()[0]+":5984", "/"+db+`/_all_docs?include_docs=true&startkey="seed-0001000"&limit=300`)
	if err != nil {
		t.Fatal(err)
	}
	var digests []string
	for _, part := range strings.Split(out, `"md5-`)[1:] {
		digest, _, _ := strings.Cut(part, `"`)
		digests = append(digests, "md5-"+digest)
	}
	return strings.Join(digests, "\n")
}

// scratchGone checks that nothing is left of a restore's scratch namespace.
func scratchGone(ctx context.Context, t *testing.T, c *harness.Cluster, r *api.Restore) {
	t.Helper()
	if r.Status.Database == nil || r.Status.Database.Scratch == "" {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	name := r.Status.Database.Scratch
	var namespaces corev1.NamespaceList
	if err := await.List(ctx, c.Client, &namespaces, func() (string, error) {
		if len(namespaces.Items) > 0 {
			return "the end of namespace " + name, nil
		}
		return "", nil
	}, client.MatchingFields{"metadata.name": name}); err != nil {
		t.Error(err)
	}
	var volumes corev1.PersistentVolumeList
	if err := await.List(ctx, c.Client, &volumes, func() (string, error) {
		for _, v := range volumes.Items {
			if ref := v.Spec.ClaimRef; ref != nil && ref.Namespace == name {
				return fmt.Sprintf("the end of volume %s of namespace %s", v.Name, name), nil
			}
		}
		return "", nil
	}); err != nil {
		t.Error(err)
	}
}

// everyPart has a CHT with all its parts.
func everyPart(o *cht.Options) { o.Components = cht.AllComponents }

// replaceable takes a backup of a CHT, and writes later.
func replaceable(ctx context.Context, t *testing.T, c *harness.Cluster, o cht.Options) (b *api.Backup, backedUp, before *load.Dump) {
	t.Helper()
	b = guardedBackup(t, c, o.Namespace, "b", api.BackupSpec{})
	backedUp = contents(ctx, t, c, o)
	later(ctx, t, c, o)
	return b, backedUp, contents(ctx, t, c, o)
}

// TestReplaceDatabase puts a backup's database in the place of the live one.
func TestReplaceDatabase(t *testing.T) {
	t.Parallel()
	c := suite.Cluster(t)
	ctx := bounded(t, 20*time.Minute)
	o := deployed(ctx, t, c, 1, everyPart)
	b, backedUp, before := replaceable(ctx, t, c, o)
	replicas := replicasIn(ctx, t, c, o.Namespace)
	r := c.Restore(t, o.Namespace, "r", oneDatabase(b, api.DatabaseRestore{Name: "medic", Replace: true}), restoreWithin)
	d := r.Status.Database
	if d.As != "medic" || !strings.HasPrefix(d.KeptAs, "medic-replaced-") {
		t.Fatalf("the status has %+v", d)
	}
	if err := cht.WaitReady(ctx, c.Client, o, c.Transport()); err != nil {
		t.Errorf("the CHT does not work: %v", err)
	}
	if now := replicasIn(ctx, t, c, o.Namespace); now != replicas {
		t.Errorf("replicas were\n%s\nand are\n%s", replicas, now)
	}
	after := contents(ctx, t, c, o)
	sameDump(t, "medic", documents(only(backedUp, "medic")), documents(only(after, "medic")))
	sameDump(t, d.KeptAs, documents(renamed(before, "medic", d.KeptAs)), documents(only(after, d.KeptAs)))
	others := func(db string) bool {
		return !slices.Contains([]string{"medic", d.KeptAs}, db) && db != "medic-sentinel" && db != "medic-logs"
	}
	sameDump(t, "the other databases", before.Only(others), after.Only(others))
	scratchGone(ctx, t, c, r)
}

// TestDatabaseGoesBackOrOn kills the controller at every step of a replacement, and
// aborts at every step: medic is the backup's or what it was, and nothing half.
func TestDatabaseGoesBackOrOn(t *testing.T) {
	t.Parallel()
	c := suite.Cluster(t)
	if !c.Local {
		t.Skip("kills processes by id, on the testbed's machine only")
	}
	ctx := bounded(t, 30*time.Minute)
	o := deployed(ctx, t, c, 1, everyPart)
	c = killable(ctx, t, c, o.Namespace)
	b, backedUp, _ := replaceable(ctx, t, c, o)
	replicas := replicasIn(ctx, t, c, o.Namespace)
	kept := map[string]bool{}
	spec := oneDatabase(b, api.DatabaseRestore{Name: "medic", Replace: true})
	for _, phase := range restore.Steps(spec) {
		for _, how := range []string{"killed", "aborted"} {
			if how == "aborted" && phase == api.PhasePending {
				continue // over before anybody could ask
			}
			t.Run(how+" at "+string(phase), func(t *testing.T) {
				later(ctx, t, c, o)
				before := contents(ctx, t, c, o)
				r, err := c.CreateRestore(ctx, o.Namespace, how+"-"+strings.ToLower(string(phase)), spec)
				if err != nil {
					t.Fatal(err)
				}
				reached(ctx, t, c, r, func(r *api.Restore) bool { return r.Status.Phase == phase })
				if how == "killed" {
					replaceController(ctx, t, c)
				} else {
					merge(ctx, t, c, r.DeepCopy(), `{"spec":{"abort":true}}`)
				}
				if r, err = c.WaitRestore(ctx, r, restoreWithin, nil); err != nil {
					t.Fatal(err)
				}
				t.Logf("%s: %s", r.Status.Phase, harness.Message(r.Status.Conditions))
				if how == "aborted" && r.Status.Phase != api.PhaseFailed || how == "killed" && r.Status.Phase != api.PhaseCompleted {
					t.Errorf("%s at %s, the restore is %s", how, phase, r.Status.Phase)
				}
				if err := cht.WaitReady(ctx, c.Client, o, c.Transport()); err != nil {
					t.Errorf("the CHT does not work: %v", err)
				}
				if now := replicasIn(ctx, t, c, o.Namespace); now != replicas {
					t.Errorf("replicas were\n%s\nand are\n%s", replicas, now)
				}
				after, want := contents(ctx, t, c, o), before
				if r.Status.Phase == api.PhaseCompleted {
					as := r.Status.Database.KeptAs
					want, kept[as] = backedUp, true
					sameDump(t, as, documents(renamed(before, "medic", as)), documents(only(after, as)))
				}
				sameDump(t, "medic", documents(only(want, "medic")), documents(only(after, "medic")))
				for k := range after.Docs {
					if strings.HasPrefix(k.DB, "medic-re") && !kept[k.DB] {
						t.Fatalf("database %s is left", k.DB)
					}
				}
				scratchGone(ctx, t, c, r)
			})
		}
	}
}

func TestDatabaseRefusals(t *testing.T) {
	t.Parallel()
	c := suite.Cluster(t)
	ctx := bounded(t, 10*time.Minute)
	o := deployed(ctx, t, c, 1, nil)
	b := c.Backup(t, o.Namespace, "b", api.BackupSpec{AllowedNamespaces: []string{"*"}}, backupWithin)
	for _, test := range []struct {
		name      string
		namespace string
		database  api.DatabaseRestore
		reason    string
		says      []string
	}{
		{"a database that the backup does not have", o.Namespace, api.DatabaseRestore{Name: "medicc"}, api.ReasonDatabaseMissing, []string{"no database medicc", "medic-logs"}},
		{"a name that is taken", o.Namespace, api.DatabaseRestore{Name: "medic", As: "medic-logs"}, api.ReasonDatabaseExists, []string{"medic-logs exists", "--database-as", "--replace"}},
		{"over the live one without replace", o.Namespace, api.DatabaseRestore{Name: "medic", As: "medic"}, api.ReasonDatabaseExists, []string{"medic exists", "--replace"}},
		{"CouchDB's own", o.Namespace, api.DatabaseRestore{Name: "_users", Replace: true}, api.ReasonDatabaseExists, []string{"_users", "CouchDB's own", "--database-as"}},
		{"no instance there", c.TempNamespace(t, "empty"), api.DatabaseRestore{Name: "medic"}, api.ReasonNoInstance, []string{"no CHT instance"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			deleteRestore(ctx, t, c, refused(ctx, t, c, test.namespace, oneDatabase(b, test.database), test.reason, test.says...))
		})
	}
	t.Run("a forged scratch namespace", func(t *testing.T) {
		mine := c.Backup(t, o.Namespace, "mine", api.BackupSpec{}, backupWithin) // allowed nowhere else
		thief := c.TempNamespace(t, "thief")
		merge(ctx, t, c, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: thief}}, fmt.Sprintf(`{"metadata":{"annotations":{%q:"%s/r"}}}`, api.ScratchForAnnotation, o.Namespace))
		spec := sourceOf(mine)
		spec.Scope = api.ScopeCouchDB
		spec.Source.UID = mine.UID
		r, err := c.CreateRestore(ctx, thief, "scratch", spec)
		if err == nil {
			r, err = c.WaitRestore(ctx, r, restoreWithin, nil)
		}
		if err != nil {
			t.Fatal(err)
		}
		judge(t, "restore", r.Status.Phase, r.Status.Conditions, api.ReasonNotAllowed, []string{thief})
	})
	t.Run("refused by the API server", func(t *testing.T) {
		for says, spec := range map[string]api.RestoreSpec{
			"leave as out": oneDatabase(b, api.DatabaseRestore{Name: "medic", As: "other", Replace: true}),
			"exclude each other": func() api.RestoreSpec {
				s := oneDatabase(b, api.DatabaseRestore{Name: "medic"})
				s.GoLive = true
				return s
			}(),
			"spec.database.as": oneDatabase(b, api.DatabaseRestore{Name: "medic", As: "Über"}),
		} {
			_, err := c.CreateRestore(ctx, o.Namespace, "cel", spec)
			if !apierrors.IsInvalid(err) || !strings.Contains(err.Error(), says) {
				t.Errorf("want a refusal that says %q, got %v", says, err)
			}
		}
	})
}
