package command

import (
	"errors"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/cmd/kubectl-cht/internal/exit"
	"github.com/medic/cht-backup/snapshot/cht"
)

// instance is a namespace with a CHT in it.
func instance(namespace string) []client.Object {
	return []client.Object{
		&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}},
		&appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "cht-couchdb"},
			Spec: appsv1.DeploymentSpec{Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{cht.ServiceLabel: "couchdb"}}}}},
	}
}

// running is a world with a CHT in medic and in other, and a backup of medic's.
func running(t *testing.T, hooks interceptor.Funcs) *world {
	t.Helper()
	return newWorld(t, hooks, append(append(instance("medic"), instance("other")...), backupIn(api.PhaseCompleted, "u-1"))...)
}

func TestRestoreForms(t *testing.T) {
	defaults := func(change func(*api.RestoreSpec)) api.RestoreSpec {
		s := api.RestoreSpec{Source: api.BackupReference{Namespace: "medic", Name: "nightly"}, Scope: api.ScopeInstance, Credentials: api.CredentialsKeep,
			Verify: api.VerifySample, StepTimeout: metav1.Duration{Duration: 15 * time.Minute}, DataFrom: api.DataAuto}
		change(&s)
		return s
	}
	for _, tc := range []struct {
		args string
		into string
		want api.RestoreSpec
	}{
		{"--to clone", "clone", defaults(func(*api.RestoreSpec) {})},
		{"--to clone --go-live --verify full --rotate-credentials", "clone", defaults(func(s *api.RestoreSpec) {
			s.GoLive, s.Verify, s.Credentials = true, api.VerifyFull, api.CredentialsRotate
		})},
		{"--to clone --ttl 24h --couchdb-only --verify Quick --step-timeout 1h", "clone", defaults(func(s *api.RestoreSpec) {
			s.TimeToLive, s.Scope, s.Verify = &metav1.Duration{Duration: 24 * time.Hour}, api.ScopeCouchDB, api.VerifyQuick
			s.StepTimeout.Duration = time.Hour
		})},
		{"--to clone --zone z --ingress-host x.example.org", "clone", defaults(func(s *api.RestoreSpec) {
			s.Remap = &api.Remap{Zone: "z", Ingress: &api.IngressRemap{Host: "x.example.org"}}
		})},
		{"--in-place --yes", "medic", defaults(func(s *api.RestoreSpec) { s.InPlace = &api.InPlace{SafetyBackup: api.SafetyBackupRequired} })},
		{"--in-place --yes --to medic --no-safety-backup --rotate-credentials --storage-class gold", "medic", defaults(func(s *api.RestoreSpec) {
			s.InPlace, s.Credentials, s.Remap = &api.InPlace{SafetyBackup: api.SafetyBackupSkip}, api.CredentialsRotate, &api.Remap{StorageClassName: "gold"}
		})},
		{"--to clone --data-from file", "clone", defaults(func(s *api.RestoreSpec) { s.DataFrom = api.DataFile })},
		{"--database medic", "medic", defaults(func(s *api.RestoreSpec) { s.Database = &api.DatabaseRestore{Name: "medic"} })},
		{"--database _users --database-as users-old --to other --verify Full", "other", defaults(func(s *api.RestoreSpec) {
			s.Database, s.Verify = &api.DatabaseRestore{Name: "_users", As: "users-old"}, api.VerifyFull
		})},
		{"--database medic --replace --yes", "medic", defaults(func(s *api.RestoreSpec) { s.Database = &api.DatabaseRestore{Name: "medic", Replace: true} })},
		{"--database medic --database-as medic --replace --yes", "medic", defaults(func(s *api.RestoreSpec) {
			s.Database = &api.DatabaseRestore{Name: "medic", As: "medic", Replace: true}
		})},
	} {
		t.Run(tc.args, func(t *testing.T) {
			w := running(t, interceptor.Funcs{})
			w.mustRun(t, exit.Good, nil, append([]string{"restore", "--from", "medic/nightly", "--name", "r"}, strings.Fields(tc.args)...)...)
			var r api.Restore
			if err := w.Get(t.Context(), client.ObjectKey{Namespace: tc.into, Name: "r"}, &r); err != nil {
				t.Fatal(err)
			}
			if !equality.Semantic.DeepEqual(r.Spec, tc.want) {
				t.Errorf("spec %+v\nwant %+v", r.Spec, tc.want)
			}
			if !strings.Contains(w.out.String(), "restore "+tc.into+"/r is Completed") {
				t.Errorf("stdout: %s", w.out)
			}
		})
	}
}

// The database of another namespace's backup needs that backup's consent.
func TestRestoreDatabaseGrants(t *testing.T) {
	w := running(t, interceptor.Funcs{})
	w.mustRun(t, exit.Good, nil, "restore", "--from", "medic/nightly", "--to", "other", "--database", "medic")
	if got := w.backup(t, "nightly").Spec.AllowedNamespaces; len(got) != 1 || got[0] != "other" {
		t.Errorf("allowedNamespaces %v", got)
	}
}

func TestRestoreRefusesBadInput(t *testing.T) {
	w := newWorld(t, interceptor.Funcs{})
	w.env.Connect = func() (client.WithWatch, error) { t.Error("a cluster was asked"); return nil, errors.New("no") }
	for _, tc := range []struct{ args, says string }{
		{"--in-place --go-live", "--in-place and --go-live exclude each other"},
		{"--in-place --database medic", "--in-place and --database exclude each other"},
		{"--database medic --go-live", "--database and --go-live exclude each other"},
		{"--in-place --to clone", "--to clone is not the namespace of backup medic/nightly"},
		{"--ttl 1h --in-place", "--ttl is for clones"},
		{"--ttl 1h --database medic", "leave --ttl or --database out"},
		{"--to clone --ttl 1h --go-live", "leave --ttl or --go-live out"},
		{"--to clone --ttl 0s", "--ttl 0s is out of range; give 1s to 8760h"},
		{"--to clone --ttl 8761h", "--ttl 8761h0m0s is out of range"},
		{"--couchdb-only --in-place", "--couchdb-only is for clones"},
		{"--couchdb-only --database medic", "--couchdb-only is for clones"},
		{"--to clone --couchdb-only --go-live", "--couchdb-only is for clones"},
		{"--database medic --rotate-credentials", "the running instance keeps its own"},
		{"--to clone --no-safety-backup", "--no-safety-backup has no meaning without --in-place"},
		{"--to clone --database-as x", "--database-as names the restored database; give --database too"},
		{"--to clone --replace", "give --database too"},
		{"--database medic --database-as other --replace", "leave --database-as other out"},
		{"--database _users --replace", "_users is CouchDB's own"},
		{"--database Medic", `--database "Medic" cannot be the name of a database`},
		{"--database=", `--database "" cannot be`},
		{"--database medic --database-as _users", `--database-as "_users" cannot be`},
		{"--database medic --database-as=", `--database-as "" cannot be`},
		{"--database " + strings.Repeat("m", 239), "cannot be the name of a database"},
		{"--in-place --create-namespace", "--create-namespace has no meaning here"},
		{"--to clone --verify most", "use one of: Quick, Sample, Full"},
		{"--to clone --dry-run --no-wait", "--dry-run waits for the plan"},
		{"--to clone --dry-run --wait=false", "--dry-run waits for the plan"},
		{"--in-place --remap -", "--remap - takes stdin"},
		{"--in-place --ingress-host x.example.org", "in place the ingress stays as it is"},
		{"--database medic --ingress-host x.example.org", "one database brings no ingress along"},
		{"--to clone --ingress-class nginx", "give --ingress-host too"},
		{"--to clone extra", `unknown command "extra"`},
		{"--in-place", "nobody can be asked here"},
		{"--database medic --replace", "agree to it with --yes"},
		{"", "--to is missing"},
	} {
		w.mustRun(t, exit.Usage, []string{tc.says}, append([]string{"restore", "--from", "medic/nightly"}, strings.Fields(tc.args)...)...)
	}
}

func TestRestoreIntoWhatRunsRefuses(t *testing.T) {
	leaving := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "medic", DeletionTimestamp: &metav1.Time{Time: noon}, Finalizers: []string{"x"}}}
	for _, tc := range []struct {
		name    string
		objects []client.Object
		says    []string
	}{
		{"no namespace", nil, []string{"namespace medic does not exist, so that there is no running CHT", "--to NAMESPACE"}},
		{"no CHT", []client.Object{&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "medic"}}}, []string{"namespace medic holds no CHT to restore into", "--to NAMESPACE"}},
		{"leaving", []client.Object{leaving}, []string{"namespace medic is being deleted"}},
	} {
		for _, way := range [][]string{{"--in-place", "--yes"}, {"--database", "medic"}} {
			var objects []client.Object
			for _, o := range append(tc.objects, backupIn(api.PhaseCompleted, "u-1")) {
				objects = append(objects, copyOf(o))
			}
			w := newWorld(t, interceptor.Funcs{}, objects...)
			w.mustRun(t, exit.Refused, tc.says, append([]string{"restore", "--from", "medic/nightly"}, way...)...)
			w.untouched(t)
		}
	}
	w := running(t, interceptor.Funcs{})
	w.mustRun(t, exit.Refused, []string{"holds a CHT already", "--in-place"}, "restore", "--from", "medic/nightly", "--to", "other")
	w.untouched(t)
}

// A namespace that is made for a clone bears the restore's name, by which it goes
// with the clone; that of a live instance never goes.
func TestRestoreMarksTheNamespace(t *testing.T) {
	mark := func(w *world) string {
		var n corev1.Namespace
		if err := w.Get(t.Context(), client.ObjectKey{Name: "clone"}, &n); err != nil {
			t.Fatal(err)
		}
		return n.Annotations[api.CreatedForAnnotation]
	}
	const stays = "namespace clone was there before and stays"
	w := running(t, interceptor.Funcs{})
	w.mustRun(t, exit.Good, nil, "restore", "--from", "medic/nightly", "--to", "clone", "--ttl", "1h", "--name", "r")
	if got := mark(w); got != "r" || strings.Contains(w.er.String(), stays) {
		t.Errorf("annotation %q, notes %s", got, w.er)
	}
	w = running(t, interceptor.Funcs{})
	w.mustRun(t, exit.Good, nil, "restore", "--from", "medic/nightly", "--to", "clone", "--go-live")
	if got := mark(w); got != "" {
		t.Errorf("annotation %q", got)
	}
	w = newWorld(t, interceptor.Funcs{}, backupIn(api.PhaseCompleted, "u-1"), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "clone"}})
	w.mustRun(t, exit.Good, nil, "restore", "--from", "medic/nightly", "--to", "clone", "--ttl", "1h")
	if got := mark(w); got != "" || !strings.Contains(w.er.String(), stays) {
		t.Errorf("annotation %q, notes %s", got, w.er)
	}
}
