package e2e

import (
	"slices"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/integration/cht"
	"github.com/medic/cht-backup/integration/cht/load"
	"github.com/medic/cht-backup/integration/harness"
	"github.com/medic/cht-backup/snapshot/await"
)

// TestRoundTrip backs up a CHT under load and restores it beside the running
// source, in the shapes that CHTs have. It is not parallel: a pause of three nodes has
// two seconds on a machine of two cores.
func TestRoundTrip(t *testing.T) {
	for _, test := range []struct {
		name    string
		nodes   int
		quiesce api.Quiesce
		change  func(*cht.Options)
		testbed bool
	}{
		{"three nodes, frozen", 3, api.QuiesceFreeze, func(o *cht.Options) {
			o.Components, o.Nouveau, o.Password = cht.AllComponents, true, `p/w%d@:?#&+ €`
		}, false},
		{"three nodes, paused, old data path", 3, api.QuiescePause, func(o *cht.Options) { o.DataSubPath = "storage/medic-core/couchdb/data" }, false},
		{"three nodes, by their files", 3, api.QuiesceAuto, func(o *cht.Options) { o.StorageClass = onDisk }, true},
		{"one node, frozen", 1, api.QuiesceAuto, func(o *cht.Options) { o.Components = cht.AllComponents }, false},
		{"one node, volume's root, claim that waits for its pod", 1, api.QuiesceAuto, func(o *cht.Options) { o.DataSubPath, o.StorageClass = "", "loop-wait" }, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := suite.Cluster(t)
			if test.testbed && !c.Local {
				t.Skip("needs a storage class of the testbed's")
			}
			ctx := bounded(t, 12*time.Minute)
			o := deployed(ctx, t, c, test.nodes, test.change)
			before := state(ctx, t, c, o)

			writer := writing(ctx, t, c, o.Namespace, "writer", "--rate", "40", "--prefix", "load-")
			time.Sleep(2 * time.Second) // some writes from before
			b := guardedBackup(t, c, o.Namespace, "b", api.BackupSpec{Quiesce: test.quiesce})
			if b.Status.Consistency != api.Consistent {
				t.Errorf("the backup is %s", b.Status.Consistency)
			}
			nothingLeft(ctx, t, c, o.Namespace, b)

			// The writer goes on while the clone comes up beside it.
			clone := c.TempNamespace(t, "clone")
			allow(ctx, t, c, b, clone)
			count := counted(t, c)
			r := c.Restore(t, clone, "r", sourceOf(b), restoreWithin)
			silent(t, c, count, o.Namespace, clone)
			stopped(ctx, t, writer)
			if after := state(ctx, t, c, o); after != before {
				t.Errorf("the source's membership or shard maps changed:\nbefore %s\nafter  %s", before, after)
			}

			source, copied := dumped(ctx, t, c, o, o.Namespace), dumped(ctx, t, c, o, clone)
			if v := load.CheckWrites(copied, writer.Writes(), b.Status.Timeline.QuiesceStart.Time, b.Status.Timeline.Released.Time); !v.Good() {
				t.Errorf("writes: %s", v)
			} else {
				t.Logf("writes: %s; stall %d ms", v, *b.Status.StallMilliseconds)
			}
			if diff := load.Diff(without(source, "load-"), without(copied, "load-")); len(diff) > 0 {
				t.Errorf("%d differences, the first: %v", len(diff), diff[:min(5, len(diff))])
			}
			if r.Status.Verification == nil || r.Status.Verification.Documents == 0 || len(r.Status.Verification.Problems) > 0 {
				t.Errorf("verification: %+v", r.Status.Verification)
			}
			closedIn(t, c, clone)
		})
	}
}

func counted(t *testing.T, c *harness.Cluster) *harness.Packets {
	t.Helper()
	if !c.Local {
		t.Log("packets are seen on the testbed only")
		return nil
	}
	p, err := c.CountPackets(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Close() })
	return p
}

// silent fails if source and clone exchanged a packet.
func silent(t *testing.T, c *harness.Cluster, p *harness.Packets, source, clone string) {
	t.Helper()
	if p == nil {
		return
	}
	n, err := p.Between(source, clone)
	if err != nil || n != 0 {
		t.Errorf("%d packets between source and clone (%v): %v", n, err, p.Flows(source, clone))
	}
}

// closedIn checks that nothing that could reach out runs in a clone.
func closedIn(t *testing.T, c *harness.Cluster, namespace string) {
	t.Helper()
	var deployments appsv1.DeploymentList
	var ingresses networkingv1.IngressList
	var policies networkingv1.NetworkPolicyList
	for _, list := range []client.ObjectList{&deployments, &ingresses, &policies} {
		if err := c.Client.List(t.Context(), list, client.InNamespace(namespace)); err != nil {
			t.Fatal(err)
		}
	}
	for _, d := range deployments.Items {
		service := d.Spec.Template.Labels[cht.Label]
		if (service == "sentinel" || service == "api") && *d.Spec.Replicas != 0 {
			t.Errorf("%s of the clone runs, on a cluster whose network enforces no policies", service)
		}
	}
	if len(ingresses.Items) > 0 {
		t.Errorf("the clone has ingress %s", ingresses.Items[0].Name)
	}
	if len(policies.Items) == 0 {
		t.Error("the clone has no NetworkPolicy")
	}
}

// TestNamespaceLost deletes the whole namespace and brings it back, live, under
// its own name and under another.
func TestNamespaceLost(t *testing.T) {
	t.Parallel()
	c := suite.Cluster(t)
	ctx := bounded(t, 15*time.Minute)
	o := deployed(ctx, t, c, 3, func(o *cht.Options) { o.Components, o.IngressHost = cht.AllComponents, "cht.example" })
	b := c.Backup(t, o.Namespace, "b", api.BackupSpec{AllowedNamespaces: []string{"*"}}, backupWithin)
	source := dumped(ctx, t, c, o, o.Namespace)
	if err := c.DeleteNamespace(ctx, o.Namespace); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { discardKept(t, c, b) })

	for _, target := range []string{o.Namespace, o.Namespace + "-new"} {
		if err := c.CreateNamespace(ctx, target); err != nil {
			t.Fatal(err)
		}
		spec := sourceOf(b)
		spec.GoLive = true
		c.Restore(t, target, "r", spec, restoreWithin)
		there := o
		there.Namespace = target
		if err := cht.WaitReady(ctx, c.Client, there, c.Transport()); err != nil {
			t.Errorf("%s does not work: %v", target, err)
		}
		if diff := load.Diff(without(source, "\x00"), without(dumped(ctx, t, c, o, target), "\x00")); len(diff) > 0 {
			t.Errorf("%s: %d differences, the first: %v", target, len(diff), diff[:min(5, len(diff))])
		}
		var ingress networkingv1.IngressList
		if err := c.Client.List(ctx, &ingress, client.InNamespace(target)); err != nil || len(ingress.Items) != 1 {
			t.Errorf("%s has %d ingresses (%v), want the backup's one", target, len(ingress.Items), err)
		}
		if target == o.Namespace {
			// The ingress' host is taken now: the next must be refused, not served twice.
			conflict := c.TempNamespace(t, "conflict")
			refused(ctx, t, c, conflict, spec, api.ReasonIngressConflict, "cht.example", o.Namespace+"/", "still running")
			if err := c.DeleteNamespace(ctx, target); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := c.DeleteNamespace(ctx, o.Namespace+"-new"); err != nil {
		t.Error(err)
	}
}

// TestDeletedBackupIsGone deletes a Backup and looks for what it had.
func TestDeletedBackupIsGone(t *testing.T) {
	t.Parallel()
	c := suite.Cluster(t)
	ctx := bounded(t, 8*time.Minute)
	o := deployed(ctx, t, c, 1, nil)
	b := c.Backup(t, o.Namespace, "b", api.BackupSpec{}, backupWithin)
	kept := c.Backup(t, o.Namespace, "kept", api.BackupSpec{}, backupWithin)
	cataloged(ctx, t, c, b)
	cataloged(ctx, t, c, kept)
	deleteBackup(ctx, t, c, b)
	var backups api.BackupList
	if err := await.List(ctx, c.Client, &backups, func() (string, error) {
		if len(backups.Items) > 1 {
			return "the end of backup b", nil
		}
		return "", nil
	}, client.InNamespace(o.Namespace)); err != nil {
		t.Fatal(err)
	}
	nothingLeft(ctx, t, c, o.Namespace, kept)
	heads, err := records(c).List(ctx, o.Namespace)
	if err != nil || len(heads) != 1 || heads[0].UID != kept.UID {
		t.Errorf("records: %v (%v), want that of %s alone", heads, err, kept.Name)
	}
	if !slices.Equal(nodes(kept), []string{"couchdb"}) {
		t.Errorf("volumes of %v", nodes(kept))
	}
}
