package command

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/cmd/kubectl-cht/internal/exit"
	"github.com/medic/cht-backup/snapshot/catalog"
)

// kinds gives KIND/NAME of a record's objects.
func kinds(t *testing.T, r catalog.Record) (all []string) {
	t.Helper()
	for _, raw := range r.Objects {
		o, err := catalog.CheckObject(raw, r.Namespace)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, o.Kind+"/"+o.Metadata.Name)
	}
	slices.Sort(all)
	return all
}

func TestCatalogImport(t *testing.T) {
	w, c := newWorld(t, interceptor.Funcs{}, newCluster()...), newCatalogWithOne(t)
	at := c.url + "/medic/nightly-1"
	// Without the key: imported, and told what lacks and how to give it.
	w.mustRun(t, exit.Good, nil, "catalog", "import", at)
	w.shows(t, "backup medic/nightly-1 (cut 2026-02-01T01:30:00Z) is imported: secret "+system+"/cht-backup-uid-1", "--uid uid-1")
	for _, s := range []string{"cht-couchdb-credentials", "Secrets tls", "--identity FILE", c.recipient, "--credentials-from"} {
		if !strings.Contains(w.er.String(), s) {
			t.Errorf("notes do not say %q:\n%s", s, w.er)
		}
	}
	if got := kinds(t, w.records(t)["uid-1"]); !slices.Equal(got, []string{"Service/couchdb"}) {
		t.Errorf("objects %v", got)
	}
	// With the key it becomes whole.
	w.mustRun(t, exit.Good, nil, "catalog", "import", at, "--identity", c.key, "--to", "clone,drill")
	w.shows(t, "is imported")
	if w.er.Len() > 0 {
		t.Errorf("notes:\n%s", w.er)
	}
	whole := []string{"Secret/cht-couchdb-credentials", "Secret/tls", "Service/couchdb"}
	if got := kinds(t, w.records(t)["uid-1"]); !slices.Equal(got, whole) {
		t.Errorf("objects %v", got)
	}
	if h := w.head(t, "uid-1"); !slices.Equal(h.AllowedNamespaces, []string{"clone", "drill"}) {
		t.Errorf("allowed %v", h.AllowedNamespaces)
	}
	if err := (catalog.Store{Client: w, Namespace: system}).Hold(t.Context(), "cht-backup-uid-1", "audit"); err != nil {
		t.Fatal(err)
	}
	// Again, and without the key: nothing is lost.
	for _, args := range [][]string{{"--identity", c.key}, {"--to", "clone"}, {}} {
		w.mustRun(t, exit.Good, nil, append([]string{"catalog", "import", at}, args...)...)
		w.shows(t, "was imported before, nothing is changed")
		if got := kinds(t, w.records(t)["uid-1"]); !slices.Equal(got, whole) {
			t.Errorf("%v: objects %v", args, got)
		}
		if h := w.head(t, "uid-1"); len(h.AllowedNamespaces) != 2 || h.Hold != "audit" {
			t.Errorf("%v: %+v", args, h)
		}
	}
	// Something else in it changes it, and the hold stays.
	more := filepath.Join(t.TempDir(), "more.yaml")
	if err := os.WriteFile(more, []byte("apiVersion: v1\nkind: Secret\nmetadata: {name: pull}\nstringData: {k: "+password+"}\n---\n# nothing\n---\napiVersion: v1\nkind: PersistentVolumeClaim\nmetadata: {name: c}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	w.mustRun(t, exit.Good, nil, "catalog", "import", at, "--identity", c.key, "--objects", more)
	w.shows(t, "is imported")
	if got := kinds(t, w.records(t)["uid-1"]); !slices.Contains(got, "Secret/pull") || len(got) != 4 {
		t.Errorf("objects %v", got)
	}
	if h := w.head(t, "uid-1"); h.Hold != "audit" || len(h.AllowedNamespaces) != 2 {
		t.Errorf("%+v", h)
	}
	if notes := w.er.String(); !strings.Contains(notes, "PersistentVolumeClaim/c") || !strings.Contains(notes, "Secret/pull") {
		t.Errorf("notes:\n%s", notes)
	}
}

func TestCatalogImportLeavesWhatIsThere(t *testing.T) {
	c := newCatalogWithOne(t)
	at := c.url + "/medic/nightly-1"
	live := backupIn(api.PhaseCompleted, "uid-1")
	live.Name = "nightly-1"
	w := newWorld(t, interceptor.Funcs{}, live)
	w.mustRun(t, exit.Good, nil, "catalog", "import", at, "--identity", c.key)
	w.shows(t, "is in this cluster itself")
	if len(w.records(t)) != 0 {
		t.Error("a record was written")
	}
	// A record that a restore reads is not replaced under it.
	restore := &api.Restore{ObjectMeta: metav1.ObjectMeta{Namespace: "x", Name: "r"}, Status: api.RestoreStatus{Phase: api.PhaseVolumes, BackupUID: "uid-1"}}
	w = newWorld(t, interceptor.Funcs{}, restore, recordOf(t, "medic", "nightly-1", "uid-1", day(1)))
	w.mustRun(t, exit.Refused, []string{"restore x/r", "not replaced now"}, "catalog", "import", at, "--identity", c.key)
	w.mustRun(t, exit.Usage, []string{"--to"}, "catalog", "import", at, "--to", "No")
}

// A Secret of the cluster takes the place of what was left out.
func TestCatalogCredentialsFrom(t *testing.T) {
	c := newCatalog(t)
	c.put(t, fullRecord("medic", "nightly-1", "uid-1", day(1)), "one", false)
	w := newWorld(t, interceptor.Funcs{}, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "vault", Name: "couch"}, Data: map[string][]byte{"COUCHDB_USER": []byte("medic"), "COUCHDB_PASSWORD": []byte("p@ss")}},
		&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "vault", Name: "half"}, Data: map[string][]byte{"COUCHDB_USER": []byte("medic")}})
	at := c.url + "/medic/nightly-1"
	w.mustRun(t, exit.Usage, []string{"lacks COUCHDB_USER or COUCHDB_PASSWORD"}, "catalog", "import", at, "--credentials-from", "vault/half")
	w.mustRun(t, exit.Refused, []string{"vault/none"}, "catalog", "import", at, "--credentials-from", "vault/none")
	w.mustRun(t, exit.Usage, []string{"NAMESPACE/SECRET"}, "catalog", "import", at, "--credentials-from", "vault")
	w.mustRun(t, exit.Good, nil, "catalog", "import", at, "--credentials-from", "vault/couch")
	if !strings.Contains(w.er.String(), "lacks Secrets tls") || strings.Contains(w.er.String(), "admin user") {
		t.Errorf("notes:\n%s", w.er)
	}
	for _, raw := range w.records(t)["uid-1"].Objects {
		var secret corev1.Secret
		if err := json.Unmarshal(raw, &secret); err != nil {
			t.Fatal(err)
		}
		if secret.Kind == "Secret" && string(secret.Data["COUCH_URL"]) != "http://medic:p%40ss@haproxy.medic.svc.cluster.local:5984/medic" {
			t.Errorf("secret %s: %q", secret.Name, secret.Data)
		}
	}
}

func TestObjectsRefuse(t *testing.T) {
	dir := t.TempDir()
	for name, tt := range map[string]struct{ text, says string }{
		"another namespace": {"apiVersion: v1\nkind: Secret\nmetadata: {name: a, namespace: other}\n", "of namespace other"},
		"no yaml":           {"a: [" + password, "no YAML"},
		"a list":            {"- " + password, "no object"},
		"no name":           {"apiVersion: v1\nkind: Secret\nstringData: {a: " + password + "}", "metadata.name"},
		"numbers":           {"apiVersion: v1\nkind: Secret\nmetadata: {name: a}\nstringData: {a: {b: " + password + "}}", "more than texts"},
		"nothing":           {"apiVersion: v1\nkind: Pod\nmetadata: {name: a}", "no manifest of a CHT's object"},
		"a bomb":            {"a: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b]\nd: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c]\ne: &e [*d,*d,*d,*d,*d,*d,*d,*d,*d]\nf: &f [*e,*e,*e,*e,*e,*e,*e,*e,*e]\ng: &g [*f,*f,*f,*f,*f,*f,*f,*f,*f]\nh: [*g,*g,*g,*g,*g,*g,*g,*g,*g]\n", "no YAML"},
	} {
		file := filepath.Join(dir, strings.ReplaceAll(name, " ", "")+".yaml")
		if err := os.WriteFile(file, []byte(tt.text), 0o600); err != nil {
			t.Fatal(err)
		}
		_, _, err := readObjects(file, "medic")
		if err == nil || !strings.Contains(err.Error(), tt.says) || strings.Contains(err.Error(), password) {
			t.Errorf("%s: %v, want %q", name, err, tt.says)
		}
	}
	if _, _, err := readObjects(filepath.Join(dir, "nothing-here"), "medic"); err == nil {
		t.Error("a file that is not there")
	}
	below := filepath.Join(t.TempDir(), "a/b")
	if err := os.MkdirAll(below, 0o700); err != nil {
		t.Fatal(err)
	}
	list := "apiVersion: v1\nkind: List\nitems:\n- {apiVersion: v1, kind: ConfigMap, metadata: {name: x, uid: u, resourceVersion: '1'}}\n- {apiVersion: v1, kind: ConfigMap, metadata: {name: kube-root-ca.crt}}\n"
	if err := os.WriteFile(filepath.Join(below, "x.yml"), []byte(list), 0o600); err != nil {
		t.Fatal(err)
	}
	got, skipped, err := readObjects(filepath.Dir(below), "medic")
	if err != nil || len(got) != 1 || strings.Contains(string(got[0]), "uid") || !slices.Equal(skipped, []string{"ConfigMap/kube-root-ca.crt"}) {
		t.Errorf("%s, %v, %v", got, skipped, err)
	}
}

func TestRestoreFromCatalog(t *testing.T) {
	c := newCatalogWithOne(t)
	c.put(t, fullRecord("medic", "nightly-2", "uid-2", day(2)), "one", true)
	restores := func(w *world) []api.Restore {
		var list api.RestoreList
		if err := w.List(t.Context(), &list); err != nil {
			t.Fatal(err)
		}
		return list.Items
	}
	t.Run("into a new cluster", func(t *testing.T) {
		w := newWorld(t, allow(nil), newCluster()...)
		w.mustRun(t, exit.Good, nil, "restore", "--from", c.url+"/medic", "--as-of", "2026-02-01", "--identity", c.key, "--to", "clone", "--ttl", "1h")
		w.shows(t)
		if r := restores(w); len(r) != 1 || r[0].Namespace != "clone" || r[0].Spec.Source != (api.BackupReference{Namespace: "medic", Name: "nightly-1", UID: "uid-1"}) || r[0].Status.Phase != api.PhaseCompleted {
			t.Errorf("%+v", r)
		}
		if h := w.head(t, "uid-1"); !slices.Equal(h.AllowedNamespaces, []string{"clone"}) {
			t.Errorf("allowed %v", h.AllowedNamespaces)
		}
		if err := w.Get(t.Context(), client.ObjectKey{Name: "clone"}, &corev1.Namespace{}); err != nil {
			t.Error(err)
		}
	})
	t.Run("the same by catalog restore, live, key on stdin", func(t *testing.T) {
		w := newWorld(t, allow(nil), newCluster()...)
		key, err := os.ReadFile(c.key)
		if err != nil {
			t.Fatal(err)
		}
		w.in.Write(key)
		t.Setenv(catalogVariable, c.url)
		w.mustRun(t, exit.Good, nil, "catalog", "restore", "medic", "--identity", "-", "--to", "medic", "--go-live")
		if r := restores(w); len(r) != 1 || r[0].Spec.Source.UID != "uid-2" || !r[0].Spec.GoLive {
			t.Errorf("%+v", r)
		}
	})
	t.Run("a dry run leaves nothing", func(t *testing.T) {
		w := newWorld(t, allow(nil), newCluster()...)
		w.mustRun(t, exit.Good, nil, "restore", "--from", c.url+"/medic/nightly-1", "--identity", c.key, "--to", "clone", "--dry-run")
		w.shows(t, "nothing is left")
		if len(w.records(t)) != 0 || len(restores(w)) != 0 {
			t.Error("something is left")
		}
	})
	t.Run("a refused plan takes the import back", func(t *testing.T) {
		w := newWorld(t, allow(nil), append(newCluster(), recordOf(t, "medic", "nightly-1", "uid-1", day(1)))...)
		w.refuse = api.ReasonTargetNotEmpty
		w.mustRun(t, exit.Refused, []string{"the controller's refusal"}, "restore", "--from", c.url+"/medic/nightly-2", "--identity", c.key, "--to", "clone", "--dry-run")
		if r := w.records(t); len(r) != 1 || r["uid-1"].UID != "uid-1" {
			t.Errorf("left %d", len(r))
		}
	})
	t.Run("without the key", func(t *testing.T) {
		w := newWorld(t, allow(nil), newCluster()...)
		w.mustRun(t, exit.Refused, []string{"cht-couchdb-credentials", "--identity FILE", "nothing can be restored"}, "restore", "--from", c.url+"/medic", "--to", "clone")
		if len(w.records(t)) != 0 {
			t.Error("it was imported")
		}
		w = newWorld(t, allow(nil), append(newCluster(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "clone"}}, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "clone", Name: "cht-couchdb-credentials"}})...)
		w.mustRun(t, exit.Refused, []string{"Secrets tls", "--accept-missing"}, "restore", "--from", c.url+"/medic", "--to", "clone")
		w.mustRun(t, exit.Good, nil, "restore", "--from", c.url+"/medic", "--to", "clone", "--accept-missing")
		if !strings.Contains(w.er.String(), "clone/cht-couchdb-credentials is there and is used") {
			t.Errorf("notes:\n%s", w.er)
		}
	})
	t.Run("what the cluster lacks is told at once, and nothing is made", func(t *testing.T) {
		w := newWorld(t, allow([]string{"create secrets"}), newCluster()[3])
		w.mustRun(t, exit.Refused, []string{"lacks 4 things", "csi.one", "storage class fast", "no controller", "you may not create secrets in namespace " + system}, "restore", "--from", c.url+"/medic", "--identity", c.key, "--to", "clone")
		if len(w.records(t)) != 0 || len(restores(w)) != 0 {
			t.Error("something was made")
		}
	})
	t.Run("usage", func(t *testing.T) {
		w := newWorld(t, allow(nil), newCluster()...)
		w.mustRun(t, exit.Usage, []string{"--as-of is for a backup outside"}, "restore", "--from", "medic/nightly-1", "--to", "clone", "--as-of", "2026-02-01")
		w.mustRun(t, exit.Usage, []string{"--to is missing"}, "restore", "--from", c.url+"/medic")
		w.mustRun(t, exit.Usage, []string{"takes stdin"}, "restore", "--from", c.url+"/medic", "--to", "clone", "--identity", "-", "--remap", "-")
		w.mustRun(t, exit.Usage, []string{"exclude each other"}, "restore", "--from", c.url+"/medic", "--in-place", "--go-live")
	})
}
