package e2e

import (
	"bytes"
	"maps"
	"testing"
	"time"

	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/integration/cht"
	"github.com/medic/cht-backup/integration/cht/load"
	"github.com/medic/cht-backup/integration/harness"
	"github.com/medic/cht-backup/schedule"
)

// TestStackUpgrade installs a CHT of one node from the charts of an earlier commit,
// upgrades it to those of the work tree, and goes back. Each time everything that its users
// entered is there, under the same password, and it can be backed up.
func TestStackUpgrade(t *testing.T) {
	t.Parallel()
	c := suite.Cluster(t)
	ctx := bounded(t, 8*time.Minute)
	earlier, commit := c.EarlierCharts(t, "charts/cht/Chart.yaml", "charts/cht/values.yaml", "charts/cht-backup/Chart.yaml")
	t.Logf("from the charts of commit %s", commit)
	s := newStack(t, c, 1)
	values := s.values(map[string]any{"ingress": map[string]any{"host": s.Namespace + ".example.org"}})
	s.install(ctx, t, earlier+"/cht", values)
	s.ready(ctx, t)
	seeded(ctx, t, c, s.Options)
	before, secret, template, was := s.identities(ctx, t), s.secret(ctx, t), s.podTemplate(ctx, t), contents(ctx, t, c, s.Options)
	same := func(after string) {
		t.Helper()
		now := s.identities(ctx, t)
		if !maps.Equal(now.claims, before.claims) {
			t.Errorf("after the %s: claims %v, were %v", after, now.claims, before.claims)
		}
		if unchanged := equality.Semantic.DeepEqual(template, s.podTemplate(ctx, t)); unchanged != maps.Equal(now.pods, before.pods) {
			t.Errorf("after the %s: CouchDB's pods are the same %v, and how they are to be is the same %v", after, !unchanged, unchanged)
		}
		if data := s.secret(ctx, t); data.UID != secret.UID || !maps.EqualFunc(data.Data, secret.Data, bytes.Equal) {
			t.Errorf("after the %s the Secret is another one", after)
		}
		if diff := load.Diff(was, contents(ctx, t, c, s.Options)); len(diff) > 0 {
			t.Errorf("after the %s: %d differences, the first: %v", after, len(diff), diff[:min(5, len(diff))])
		}
		before.pods, template = now.pods, s.podTemplate(ctx, t)
	}

	s.upgrade(ctx, t, values)
	same("upgrade")
	s.ready(ctx, t)
	var in networkingv1.Ingress
	if err := c.Client.Get(ctx, client.ObjectKey{Namespace: s.Namespace, Name: "api-ingress"}, &in); err != nil || len(in.Spec.Rules) != 1 || in.Spec.Rules[0].Host != s.Namespace+".example.org" {
		t.Errorf("ingress %+v, %v", in.Spec, err)
	}
	if d, err := c.Dump(ctx, s.Namespace, "http://api."+s.Namespace+".svc.cluster.local:5988", ""); err != nil || len(d.Docs) < 300 {
		t.Errorf("through the API: %v", err)
	}
	ordered(t, c, s, "after-upgrade")

	if err := c.Helm(s.Namespace).Rollback(ctx, s.release, 1); err != nil {
		t.Fatal(err)
	}
	s.answers(ctx, t)
	same("rollback")
	ordered(t, c, s, "after-rollback")
}

// ordered asks the nightly schedule to run now, and fails unless that makes a good backup.
func ordered(t *testing.T, c *harness.Cluster, s *stack, token string) {
	t.Helper()
	thaw(t, c)
	var list api.BackupScheduleList
	if err := c.Client.List(t.Context(), &list, client.InNamespace(s.Namespace)); err != nil || len(list.Items) != 1 {
		t.Fatalf("%d schedules: %v", len(list.Items), err)
	}
	nightly := &list.Items[0]
	merge(t.Context(), t, c, nightly.DeepCopy(), `{"metadata":{"annotations":{"`+api.RunNowAnnotation+`":"`+token+`"}}}`)
	b := &api.Backup{ObjectMeta: metav1.ObjectMeta{Namespace: s.Namespace, Name: schedule.RunNowName(nightly.Name, token)}}
	b, err := c.WaitBackup(t.Context(), b, backupWithin, nil)
	if err != nil || b.Status.Phase != api.PhaseCompleted {
		t.Fatalf("the backup %s: %+v, %v", token, b, err)
	}
}

// TestTakeover turns a release of the CHT's own charts into one of charts/cht, and back:
// the same claims with the same volumes, the same password, the same shard maps.
func TestTakeover(t *testing.T) {
	t.Parallel()
	c := suite.Cluster(t)
	ctx := bounded(t, 8*time.Minute)
	s := newStack(t, c, 3)
	s.Nouveau, s.IngressHost = true, s.Namespace+".example.org"
	objects, err := cht.Objects(s.Options)
	if err != nil {
		t.Fatal(err)
	}
	theirs, err := harness.ChartOf("cht-chart", "4.20.0", objects...)
	if err != nil {
		t.Fatal(err)
	}
	h := c.Helm(s.Namespace)
	if _, err := h.InstallChart(ctx, s.release, theirs, nil); err != nil {
		t.Fatal(err)
	}
	s.answers(ctx, t)
	seeded(ctx, t, c, s.Options)
	before, secret, maps0, was := s.identities(ctx, t), s.secret(ctx, t), state(ctx, t, c, s.Options), contents(ctx, t, c, s.Options)
	same := func(after string) {
		t.Helper()
		if now := s.identities(ctx, t); !maps.Equal(now.claims, before.claims) {
			t.Errorf("after the %s: claims %v, were %v", after, now.claims, before.claims)
		}
		if now := s.secret(ctx, t); now.UID != secret.UID || !maps.EqualFunc(now.Data, secret.Data, bytes.Equal) {
			t.Errorf("after the %s the Secret is another one", after)
		}
		if now := state(ctx, t, c, s.Options); now != maps0 {
			t.Errorf("after the %s: members and shard maps are\n%s\nand were\n%s", after, now, maps0)
		}
		if diff := load.Diff(was, contents(ctx, t, c, s.Options)); len(diff) > 0 {
			t.Errorf("after the %s: %d differences, the first: %v", after, len(diff), diff[:min(5, len(diff))])
		}
	}

	// The controller that serves the cluster's namespaces does its part.
	s.upgrade(ctx, t, s.values(map[string]any{"ingress": map[string]any{"host": s.Namespace + ".example.org"}, "cht-backup": map[string]any{"enabled": false}}))
	s.ready(ctx, t)
	same("takeover")
	ordered(t, c, s, "taken-over")

	if err := h.Rollback(ctx, s.release, 1); err != nil {
		t.Fatal(err)
	}
	s.answers(ctx, t)
	same("way back")
}
