package e2e

import (
	"bytes"
	"context"
	"errors"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"filippo.io/age"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/integration/cht"
	"github.com/medic/cht-backup/integration/cht/load"
	"github.com/medic/cht-backup/integration/harness"
	"github.com/medic/cht-backup/snapshot/catalog/bucket"
)

// lost is a CHT that goes down with its cluster.
type lost struct {
	cht.Options
	backup   *api.Backup
	writes   []load.Write
	contents *load.Dump
}

// TestClusterLost loses a whole cluster: etcd, certificates, images, everything but the
// storage behind its drivers and a catalog in a bucket. In a new cluster one command
// brings each CHT back. It is not parallel: there is one cluster for all tests.
func TestClusterLost(t *testing.T) {
	c := suite.Cluster(t)
	if !c.Local {
		t.Skip("needs the testbed: nobody's cluster is destroyed but that")
	}
	ctx := bounded(t, 12*time.Minute)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
		defer cancel()
		if err := errors.Join(c.Again(ctx), c.InZone(ctx, false)); err != nil {
			t.Errorf("make the cluster again for the other tests: %v", err)
		}
	})
	off := offsite(t, c.EC2(t))
	c.Controller = off.controller
	if err := errors.Join(c.InZone(ctx, true), c.InstallController(ctx)); err != nil {
		t.Fatal(err)
	}
	secrets := []string{`p/w%d@of#the&lost`}
	by := map[api.Method]*lost{}
	for _, method := range []api.Method{api.MethodCSI, api.MethodEBS, api.MethodFile} {
		class := map[api.Method]string{api.MethodCSI: "loop", api.MethodEBS: "ebs", api.MethodFile: onDisk}[method]
		nodes := 3
		if method == api.MethodFile {
			nodes = 1 // of three, TestFilesRestored tells
		}
		o := deployed(ctx, t, c, nodes, func(o *cht.Options) {
			o.StorageClass, o.Password = class, secrets[0]
			if method == api.MethodCSI {
				o.Components, o.IngressHost = cht.AllComponents, "lost.example"
			}
		})
		if err := off.ec2.Knows(ctx, c, o.Namespace); err != nil {
			t.Fatal(err)
		}
		was := backedUpUnderLoad(ctx, t, c, o, api.BackupSpec{})
		for _, v := range was.backup.Status.Volumes {
			if v.Method != method {
				t.Fatalf("%s was cut by %q, not by %q", v.Node, v.Method, method)
			}
		}
		off.cataloged(ctx, t, c, was.backup)
		by[method] = was
	}
	repository := by[api.MethodFile].backup.Status.Volumes[0].File.Repository
	secrets = append(secrets, secretLines(repositoryKey(ctx, t, c, repository))...)
	said := spoken(ctx, t, c)

	if err := c.Lose(ctx); err != nil {
		t.Fatal(err)
	}
	var namespaces corev1.NamespaceList
	if err := c.Client.List(ctx, &namespaces); err != nil {
		t.Fatal(err)
	}
	for _, ns := range namespaces.Items {
		if strings.HasPrefix(ns.Name, "cht-") {
			t.Fatalf("the new cluster has namespace %s: nothing was lost", ns.Name)
		}
	}
	if err := errors.Join(c.InZone(ctx, true), c.InstallController(ctx)); err != nil {
		t.Fatal(err)
	}
	if repositoryKey(ctx, t, c, repository) != nil {
		t.Fatal("the new cluster has the key of the repository: nothing was lost")
	}
	for method, was := range by {
		t.Run("by "+string(method), func(t *testing.T) {
			target := was.Namespace + "-again"
			off.bringBack(ctx, t, c, was, target)
			t.Cleanup(func() { _ = c.DeleteNamespace(context.Background(), target) })
			sameAgain(ctx, t, c, was, target)
			if method == api.MethodFile {
				madeOfFiles(ctx, t, c, target)
			}
			if method == api.MethodEBS {
				madeByEC2(ctx, t, c, off.ec2, was)
				off.fromTags(ctx, t, c, was)
			}
		})
	}
	keyGone(ctx, t, c, repository)
	said += spoken(ctx, t, c)
	for i, secret := range append(secrets, off.identity.String()) {
		if _, in := bucket.Contains([]byte(said), []string{secret}); in {
			t.Errorf("credential %d of those used is in a log, an event or a status", i)
		}
	}
	if err := bucket.Scan(ctx, off.url, append(secrets, url.QueryEscape(secrets[0]), off.identity.String())); err != nil {
		t.Error(err)
	}
}

// backedUpUnderLoad takes a backup while documents are written.
func backedUpUnderLoad(ctx context.Context, t *testing.T, c *harness.Cluster, o cht.Options, spec api.BackupSpec) *lost {
	t.Helper()
	writer := writing(ctx, t, c, o.Namespace, "writer", "--rate", "40", "--prefix", "load-")
	time.Sleep(2 * time.Second) // some writes from before
	was := &lost{Options: o, backup: guardedBackup(t, c, o.Namespace, "nightly", spec)}
	stopped(ctx, t, writer)
	was.writes = writer.Writes()
	was.contents = without(dumped(ctx, t, c, o, o.Namespace), "load-")
	return was
}

// madeByEC2 restores once more, as a cluster without VolumeSnapshots would: by volumes
// that the controller has EC2 make. They go with the clone.
func madeByEC2(ctx context.Context, t *testing.T, c *harness.Cluster, cloud *harness.EC2, was *lost) {
	t.Helper()
	clone := c.TempNamespace(t, "clone")
	heads, err := records(c).List(ctx, was.Namespace)
	if err != nil || len(heads) != 1 {
		t.Fatalf("records of %s: %v, %v", was.Namespace, heads, err)
	}
	if err := records(c).Allow(ctx, heads[0].Secret, []string{clone}); err != nil {
		t.Fatal(err)
	}
	spec := sourceOf(was.backup)
	spec.Scope, spec.EBS, spec.TimeToLive = api.ScopeCouchDB, &api.EBSRestore{Provision: api.ProvisionStatic}, &metav1.Duration{Duration: time.Hour}
	r := c.Restore(t, clone, "static", spec, restoreWithin)
	sameAgain(ctx, t, c, was, clone)
	ours := func() (n int) {
		for _, v := range cloud.Volumes("", harness.EBSRegion) {
			if v.Tags["communityhealthtoolkit.org/restore-uid"] == string(r.UID) {
				n++
			}
		}
		return n
	}
	for _, v := range r.Status.Volumes {
		var pv corev1.PersistentVolume
		if err := c.Client.Get(ctx, client.ObjectKey{Name: v.Volume}, &pv); err != nil || v.EBS == nil || pv.Spec.CSI == nil || pv.Spec.CSI.VolumeHandle != v.EBS.VolumeID || v.EBS.Zone != harness.EBSZone {
			t.Errorf("%s: volume %q is %+v, %v", v.Node, v.Volume, v.EBS, err)
		}
	}
	if n := ours(); n != was.Nodes {
		t.Errorf("EC2 made %d volumes", n)
	}
	merge(ctx, t, c, r.DeepCopy(), `{"spec":{"timeToLive":"1s"}}`)
	if _, err := c.WaitRestore(ctx, r, restoreWithin, func(r *api.Restore) bool { return r.Status.Phase == api.PhaseExpired }); err != nil {
		t.Fatal(err)
	}
	if n := ours(); n != 0 {
		t.Errorf("%d volumes of the clone are left in EC2", n)
	}
}

// sameAgain compares what was brought back with what was lost, by documents.
func sameAgain(ctx context.Context, t *testing.T, c *harness.Cluster, was *lost, target string) {
	t.Helper()
	again := dumped(ctx, t, c, was.Options, target)
	if v := load.CheckWrites(again, was.writes, was.backup.Status.Timeline.QuiesceStart.Time, was.backup.Status.Timeline.Released.Time); !v.Good() {
		t.Errorf("writes: %s", v)
	} else {
		t.Logf("writes: %s", v)
	}
	if diff := load.Diff(was.contents, without(again, "load-")); len(diff) > 0 {
		t.Errorf("%d differences, the first: %v", len(diff), diff[:min(5, len(diff))])
	}
}

// away is what is left of a cluster: a catalog on this machine's disk, and an identity
// that never was in the cluster.
type away struct {
	dir, url string
	identity *age.X25519Identity
	file     string
	ec2      *harness.EC2
}

func offsite(t *testing.T, cloud *harness.EC2) *away {
	t.Helper()
	dir, err := os.MkdirTemp("", "cht-catalog-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	identity, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	a := &away{ec2: cloud, dir: dir, url: "file://" + dir, identity: identity, file: filepath.Join(t.TempDir(), "identity")}
	if err := os.WriteFile(a.file, []byte(identity.String()+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(dir, controllerUser, controllerUser); err != nil {
		t.Fatal(err)
	}
	return a
}

// controllerUser is whom the controller's image runs as.
const controllerUser = 65532

// spoken is everything that the product said: the controller's log, events, and our
// objects with their statuses.
func spoken(ctx context.Context, t *testing.T, c *harness.Cluster) string {
	t.Helper()
	var all bytes.Buffer
	log, err := c.ControllerLog(ctx)
	if err != nil {
		t.Fatal(err)
	}
	all.Write(log)
	events, err := c.Kube.EventsV1().Events("").List(ctx, metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, list := range []client.ObjectList{&api.BackupList{}, &api.RestoreList{}} {
		if err := c.Client.List(ctx, list); err != nil {
			t.Fatal(err)
		}
		written(t, &all, list)
	}
	written(t, &all, events)
	return all.String()
}
