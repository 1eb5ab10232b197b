package command

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/cmd/kubectl-cht/internal/exit"
	"github.com/medic/cht-backup/cmd/kubectl-cht/internal/offsite"
	"github.com/medic/cht-backup/snapshot/catalog/bucket"
)

// noCluster is a machine from which none can be reached.
func noCluster(t *testing.T) *world {
	w := newWorld(t, interceptor.Funcs{})
	w.env.Connect = func() (client.WithWatch, error) {
		t.Error("the cluster was asked")
		return nil, os.ErrNotExist
	}
	return w
}

func (w *world) shows(t *testing.T, texts ...string) {
	t.Helper()
	for _, text := range texts {
		if !strings.Contains(w.out.String(), text) {
			t.Errorf("it does not show %q:\n%s\n%s", text, w.out, w.er)
		}
	}
	if all := w.out.String() + w.er.String(); strings.Contains(all, password) || strings.Contains(all, "aHVudGVy") || strings.Contains(all, "SECRET-KEY-") {
		t.Errorf("a secret is shown:\n%s", all)
	}
}

func TestCatalogList(t *testing.T) {
	w, c := noCluster(t), newCatalog(t)
	c.put(t, fullRecord("medic", "nightly-2", "uid-2", day(2)), "one", true)
	c.put(t, fullRecord("medic", "nightly-1", "uid-1", day(1)), "one", false)
	broken := c.put(t, fullRecord("other", "nightly-3", "uid-3", day(3)), "one", true)
	spoil(t, c.file(broken, "head"), func(b []byte) []byte { return b[:len(b)/2] })
	if err := os.WriteFile(filepath.Join(c.dir, "v1/heads/medic/\x1b[31mred.json"), []byte("{}"), 0o600); err != nil {
		t.Fatal(err)
	}

	w.mustRun(t, exit.Good, nil, "catalog", "list", "--catalog", c.url)
	w.shows(t, "NAMESPACE", "nightly-1", "2026-02-01 01:30:00 UTC", "28d", "kept")
	if out := w.out.String(); strings.Index(out, "nightly-1") > strings.Index(out, "nightly-2") || strings.Contains(out, "other") || strings.Contains(out, "CONSISTENCY") {
		t.Errorf("listed:\n%s", out)
	}
	if !strings.Contains(w.er.String(), "no manifests of ours") || strings.Contains(w.er.String(), "\x1b") {
		t.Errorf("notes:\n%s", w.er)
	}
	t.Setenv(catalogVariable, c.url)
	w.mustRun(t, exit.Good, nil, "catalog", "list", "-A", "-o", "wide")
	w.shows(t, "CONSISTENCY", "Consistent", "Sealed", "LeftOut", "cht-chart-4x-1.2.3", "10 GiB", "broken: ")
	w.mustRun(t, exit.Good, nil, "catalog", "list", c.url+"/other")
	w.shows(t, "nightly-3")
	w.mustRun(t, exit.Good, nil, "catalog", "list", c.url+"/medic", "-o", "json")
	if l := decodeOut[offsite.Listing](t, w); l.Version != 1 || len(l.Backups) != 2 || l.Backups[0].Name != "nightly-1" || l.Backups[0].Documents != 9 || l.Backups[0].Nodes != 1 || l.Source != c.url {
		t.Errorf("%+v", l)
	}
	w.mustRun(t, exit.Good, nil, "catalog", "list", c.url+"/nobody")
	if !strings.Contains(w.er.String(), "no backups of namespace nobody; see all with -A") {
		t.Errorf("notes:\n%s", w.er)
	}
}

func TestCatalogRefusesOthers(t *testing.T) {
	w := noCluster(t)
	root := func(text string) string {
		dir := filepath.Join(t.TempDir(), "cht")
		if err := os.MkdirAll(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		if text != "" {
			if err := os.WriteFile(filepath.Join(dir, "cht-catalog.json"), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		return "file://" + dir
	}
	w.mustRun(t, exit.Refused, []string{"cht-catalog.json", "newer cht-backup"}, "catalog", "list", root(`{"product":"cht-backup","layout":99}`))
	w.mustRun(t, exit.Refused, []string{"cht-catalog.json", "not a catalog of cht-backup"}, "catalog", "list", root(`{"product":"velero","layout":1}`))
	w.mustRun(t, exit.Refused, []string{"no catalog here"}, "catalog", "list", root(""))
	w.mustRun(t, exit.Refused, []string{"cht-catalog.json"}, "catalog", "show", root(strings.Repeat(`{"a":`, 1000))+"/medic")
	w.mustRun(t, exit.Usage, []string{"scheme"}, "catalog", "list", "http://bucket")
	w.mustRun(t, exit.Usage, []string{"credentials"}, "catalog", "list", "s3://key:"+password+"@bucket")
	w.mustRun(t, exit.Usage, []string{"leave --catalog out"}, "catalog", "list", root(""), "--catalog", root(""))
	w.mustRun(t, exit.Usage, []string{"names no namespace"}, "catalog", "show", newCatalogWithOne(t).url)
	w.mustRun(t, exit.Usage, []string{"RFC 3339"}, "catalog", "show", newCatalogWithOne(t).url+"/medic", "--as-of", "yesterday")
	w.shows(t)
}

func newCatalogWithOne(t *testing.T) *offsiteCatalog {
	c := newCatalog(t)
	c.put(t, fullRecord("medic", "nightly-1", "uid-1", day(1)), "one", true)
	return c
}

// The catalog is the controller's where nothing else says which.
func TestCatalogOfTheController(t *testing.T) {
	c := newCatalogWithOne(t)
	deployment := newCluster()[0].(*appsv1.Deployment)
	settings := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: system, Name: deployment.Name}, Data: map[string]string{"config.yaml": "catalog-url: s3://b/p\n"}}
	w := newWorld(t, interceptor.Funcs{}, deployment, settings)
	w.env.SystemNamespace = system
	if got, err := w.env.place(t.Context(), "", "medic/x"); err != nil || got != "s3://b/p/medic/x" {
		t.Errorf("%s, %v", got, err)
	}
	settings.Data["config.yaml"] = "catalog-url: " + c.url
	w = newWorld(t, interceptor.Funcs{}, deployment, settings)
	w.mustRun(t, exit.Refused, []string{"dies with the cluster"}, "catalog", "list", "-A")
	w = newWorld(t, interceptor.Funcs{})
	w.mustRun(t, exit.Usage, []string{"--catalog URL", catalogVariable}, "catalog", "list", "-A")
}

func TestCatalogShow(t *testing.T) {
	w, c := noCluster(t), newCatalog(t)
	r := fullRecord("medic", "nightly-1", "uid-1", day(1))
	m := c.put(t, r, "one", true)
	ebs := r
	ebs.Nodes[0].Method, ebs.Nodes[0].SnapshotHandle = api.MethodEBS, "snap-0123456789abcdef0"
	ebs.Nodes[0].EBS = &api.EBSVolume{VolumeID: "vol-0123456789abcdef0", Region: "eu-west-1", Zone: "eu-west-1a", Type: "gp3"}
	ebs.UID, ebs.Name, ebs.CutTime, ebs.Consistency = "uid-2", "nightly-2", day(2), api.CrashConsistent
	c.put(t, ebs, "one", false)
	if err := c.bucket.PutCopy(t.Context(), bucket.Copy{UID: "uid-2", Name: "dr", Region: "eu-central-1", CompletionTime: day(3), Volumes: []bucket.CopiedVolume{{Node: "couchdb", Handle: "snap-0fedcba9876543210"}}}); err != nil {
		t.Fatal(err)
	}
	at := c.url + "/medic/nightly-1"
	w.mustRun(t, exit.Good, nil, "catalog", "show", at)
	w.shows(t, "Cluster:", "one", "Consistent", "couchdb@127.0.0.1", "csi.one", "snap-1", "10 GiB", "chart cht-chart-4x-1.2.3", "cht-couchdb:5.0.0", "7 documents", "medic-user-… (1)",
		"sealed to "+c.recipient, "cht-couchdb-credentials", "COUCHDB_PASSWORD", "--identity", "Service")
	w.mustRun(t, exit.Good, nil, "catalog", "show", at, "--identity", c.key)
	w.shows(t, "opened by the identity", "tls")
	w.mustRun(t, exit.Good, nil, "catalog", "show", c.url+"/medic/nightly-2")
	w.shows(t, "vol-0123456789abcdef0", "eu-west-1 eu-west-1a", "dr", "eu-central-1", "snap-0fedcba9876543210", "left out")
	// The namespace alone passes over what is only crash-consistent.
	w.mustRun(t, exit.Good, nil, "catalog", "show", c.url+"/medic", "-o", "yaml")
	w.shows(t, "name: nightly-1")
	if notes := w.er.String(); !strings.Contains(notes, "nightly-2 (cut 2026-02-02T01:30:00Z) is passed over: it is CrashConsistent") || !strings.Contains(notes, "newest good backup of medic is nightly-1") {
		t.Errorf("notes:\n%s", notes)
	}
	other := newCatalog(t)
	w.mustRun(t, exit.Refused, []string{"does not open", c.recipient}, "catalog", "show", at, "--identity", other.key)
	w.mustRun(t, exit.Refused, []string{"no backup medic/nothing", "namespaces medic"}, "catalog", "show", c.url+"/medic/nothing")

	spoil(t, c.file(m, "secrets.age"), func(b []byte) []byte { b[len(b)-1] ^= 1; return b })
	w.mustRun(t, exit.Refused, []string{"secrets.age", "damaged"}, "catalog", "show", at, "--identity", c.key)
	spoil(t, c.file(m, "record.json.gz"), func(b []byte) []byte { return b[:len(b)-4] })
	w.mustRun(t, exit.Refused, []string{"record.json.gz", "damaged"}, "catalog", "show", at)
	spoil(t, c.file(m, "head"), func(b []byte) []byte {
		return []byte(strings.Replace(string(b), `"name": "nightly-1"`, `"name": "nightly-9"`, 1))
	})
	w.mustRun(t, exit.Refused, []string{"cannot be restored"}, "catalog", "show", at)
	w.shows(t)
}

func TestCatalogChoice(t *testing.T) {
	w, c := noCluster(t), newCatalog(t)
	for i := 1; i <= 3; i++ {
		c.put(t, fullRecord("medic", "same", types.UID(fmt.Sprintf("uid-%d", i)), day(i)), "one", true)
	}
	w.mustRun(t, exit.Refused, []string{"--uid", "uid-3", "uid-1"}, "catalog", "show", c.url+"/medic/same")
	w.mustRun(t, exit.Good, nil, "catalog", "show", c.url+"/medic/same", "--uid", "uid-2")
	w.shows(t, "2026-02-02")
	w.mustRun(t, exit.Good, nil, "catalog", "show", c.url+"/medic", "--as-of", day(2).Format(time.RFC3339Nano))
	w.shows(t, "2026-02-02")
	w.mustRun(t, exit.Good, nil, "catalog", "show", c.url+"/medic", "--as-of", "2026-02-01")
	w.shows(t, "2026-02-01")
	w.mustRun(t, exit.Refused, []string{"the oldest is same uid-1"}, "catalog", "show", c.url+"/medic", "--as-of", "2026-01-01")
	c.put(t, fullRecord("medic", "theirs", "uid-9", day(9)), "two", true)
	w.mustRun(t, exit.Refused, []string{"2 clusters", "--cluster"}, "catalog", "show", c.url+"/medic")
	w.mustRun(t, exit.Good, nil, "catalog", "show", c.url+"/medic", "--cluster", "one")
	w.shows(t, "uid-3")
}
