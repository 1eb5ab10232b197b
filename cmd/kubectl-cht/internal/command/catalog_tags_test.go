package command

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	storagev1 "k8s.io/api/storage/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/cmd/kubectl-cht/internal/exit"
	"github.com/medic/cht-backup/cmd/kubectl-cht/internal/offsite"
	"github.com/medic/cht-backup/snapshot/ebs/tags"
)

// tagged are the snapshots of a set of two nodes.
func tagged(namespace, name, uid string, n int, complete bool) (all []tags.Snapshot) {
	common := tags.Common{UID: uid, Backup: name, Namespace: namespace, Cluster: "one", CutTime: day(n), Size: 2, Attempt: 1}
	for i := 1; i <= 2; i++ {
		s := tags.Snapshot{ID: fmt.Sprintf("snap-%08d%08d", n, i), Region: "eu-west-1", Account: "123456789012", VolumeID: "vol-00000001", State: "completed", SizeGiB: 8, Tags: common.Encode()}
		for k, v := range (tags.Member{Node: fmt.Sprintf("couchdb-%d", i), Claim: fmt.Sprintf("couchdb-%d-claim0", i), DataSubPath: "data"}).Encode() {
			s.Tags[k] = v
		}
		if complete {
			s.Tags[tags.Complete] = "true"
		}
		all = append(all, s)
	}
	return all
}

func (w *world) tags(t *testing.T, snapshots ...tags.Snapshot) {
	w.env.Snapshots = func(_ context.Context, region, namespace string) ([]tags.Snapshot, error) {
		if region != "eu-west-1" {
			t.Errorf("asked for %s", region)
		}
		return snapshots, nil
	}
}

func TestTagsAreShown(t *testing.T) {
	w := noCluster(t)
	all := append(tagged("medic", "nightly-1", "uid-1", 1, true), tagged("medic", "nightly-2", "uid-2", 2, false)...)
	all = append(all, tagged("other", "nightly-3", "uid-3", 3, true)[:1]...)
	all = append(all, tags.Snapshot{ID: "snap-stray", Region: "eu-west-1", Tags: map[string]string{tags.BackupUID: "\x1b[31m"}})
	w.tags(t, all...)
	w.mustRun(t, exit.Good, nil, "catalog", "list", "--from-tags", "eu-west-1", "-A")
	w.shows(t, "nightly-1", "kept", "broken: snap-0000000200000001 (couchdb-1): it lacks the tag", "of 2 members, 1 are missing: couchdb-2")
	if notes := w.er.String(); !strings.Contains(notes, "snap-stray is of no set") || strings.Contains(notes, "\x1b") {
		t.Errorf("notes:\n%s", notes)
	}
	w.mustRun(t, exit.Good, nil, "catalog", "list", "--from-tags", "eu-west-1", "medic", "-o", "json")
	if l := decodeOut[offsite.Listing](t, w); len(l.Backups) != 2 || l.Backups[0].CapacityBytes != 16<<30 || len(l.Backups[0].Broken) != 0 || len(l.Backups[1].Broken) != 2 {
		t.Errorf("%+v", l)
	}
	w.mustRun(t, exit.Good, nil, "catalog", "show", "--from-tags", "eu-west-1", "medic/nightly-2")
	w.shows(t, "broken: it is not restored", "snap-0000000200000002", "couchdb-2-claim0", "123456789012")
	w.mustRun(t, exit.Good, nil, "catalog", "show", "--from-tags", "eu-west-1", "medic/nightly-1")
	w.shows(t, "whole: it can be restored")
	w.mustRun(t, exit.Refused, []string{"no snapshot in eu-west-1"}, "catalog", "show", "--from-tags", "eu-west-1", "nobody")
	w.mustRun(t, exit.Usage, []string{"no AWS Region"}, "catalog", "list", "--from-tags", "http://x")
	w.env.Snapshots = func(context.Context, string, string) ([]tags.Snapshot, error) { return nil, errors.New("no rights") }
	w.mustRun(t, exit.Refused, []string{"no rights"}, "catalog", "list", "--from-tags", "eu-west-1", "-A")
}

const manifests = `
apiVersion: v1
kind: Secret
metadata: {name: cht-couchdb-credentials}
stringData: {COUCHDB_USER: medic, COUCHDB_PASSWORD: ` + password + `}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: cht-couchdb-1}
spec: {template: {metadata: {labels: {cht.service: couchdb-1}}, spec: {containers: [{name: couchdb, volumeMounts: [{name: v, mountPath: /opt/couchdb/data, subPath: data}]}], volumes: [{name: v, persistentVolumeClaim: {claimName: couchdb-1-claim0}}]}}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: cht-couchdb-2}
spec: {template: {metadata: {labels: {cht.service: couchdb-2}}, spec: {containers: [{name: couchdb, volumeMounts: [{name: v, mountPath: /opt/couchdb/data, subPath: data}]}], volumes: [{name: v, persistentVolumeClaim: {claimName: couchdb-2-claim0}}]}}}
`

func TestRestoreFromTags(t *testing.T) {
	file := filepath.Join(t.TempDir(), "medic.yaml")
	if err := os.WriteFile(file, []byte(manifests), 0o600); err != nil {
		t.Fatal(err)
	}
	w := newWorld(t, allow(nil), append(newCluster(), client.Object(&storagev1.CSIDriver{ObjectMeta: metav1.ObjectMeta{Name: "ebs.csi.aws.com"}}))...)
	w.tags(t, append(tagged("medic", "nightly-1", "uid-1", 1, true), tagged("medic", "nightly-2", "uid-2", 2, false)...)...)
	w.mustRun(t, exit.Usage, []string{"--objects", "helm template", "2 CouchDB nodes"}, "restore", "--from", "medic", "--from-tags", "eu-west-1", "--to", "medic")
	w.mustRun(t, exit.Refused, []string{"nightly-2", "cannot be restored", "lacks the tag"}, "restore", "--from", "medic/nightly-2", "--from-tags", "eu-west-1", "--objects", file, "--to", "medic")
	w.mustRun(t, exit.Usage, []string{"reads no catalog"}, "catalog", "import", "s3://b/medic", "--from-tags", "eu-west-1")
	w.mustRun(t, exit.Good, nil, "restore", "--from", "medic", "--from-tags", "eu-west-1", "--objects", file, "--to", "medic", "--go-live")
	w.shows(t)
	if notes := w.er.String(); !strings.Contains(notes, "newest good backup of medic is nightly-1") || !strings.Contains(notes, "nightly-2 (cut 2026-02-02T01:30:00Z) is passed over") {
		t.Errorf("notes:\n%s", notes)
	}
	r := w.records(t)["uid-1"]
	if !r.FromTags || len(r.Nodes) != 2 || len(r.Objects) != 3 || r.Nodes[0].EBS == nil || r.Nodes[0].ErlangName != "couchdb@couchdb-1.medic.svc.cluster.local" {
		t.Errorf("%+v", r)
	}
	var restores api.RestoreList
	if err := w.List(t.Context(), &restores); err != nil || len(restores.Items) != 1 || restores.Items[0].Spec.Source.UID != "uid-1" {
		t.Errorf("%+v, %v", restores.Items, err)
	}
}
