package offsite

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/medic/cht-backup/snapshot/catalog"
	"github.com/medic/cht-backup/snapshot/catalog/bucket"
	"github.com/medic/cht-backup/snapshot/ebs/tags"
)

// snapshotsOf are those of a set of n nodes.
func snapshotsOf(uid string, n int, complete bool) (all []tags.Snapshot) {
	common := tags.Common{UID: uid, Backup: "nightly", Namespace: "medic", Cluster: "one", CutTime: at("2026-03-01T01:00:00Z"), Size: n, Attempt: 1}
	for i := 1; i <= n; i++ {
		m := tags.Member{Node: fmt.Sprintf("couchdb-%d", i), NodeName: fmt.Sprintf("couchdb@couchdb-%d.medic.svc.cluster.local", i), Claim: fmt.Sprintf("couchdb-%d-claim0", i), DataSubPath: "data", ConfigSubPath: "local.d", ConfigOnVolume: true}
		if n == 1 {
			m.Node, m.NodeName, m.Claim = "couchdb", "", "couchdb-claim0"
		}
		s := tags.Snapshot{ID: fmt.Sprintf("snap-%s000000%d", strings.Repeat("a", 9), i), Region: "eu-west-1", Account: "123456789012", VolumeID: fmt.Sprintf("vol-0000000%d", i), State: "completed", SizeGiB: 8, Tags: common.Encode()}
		for k, v := range m.Encode() {
			s.Tags[k] = v
		}
		if complete {
			s.Tags[tags.Complete] = "true"
		}
		all = append(all, s)
	}
	return all
}

func deployment(service, claim, subPath string) json.RawMessage {
	return json.RawMessage(fmt.Sprintf(`{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"cht-%[1]s","namespace":"medic"},"spec":{"template":{"metadata":{"labels":{"cht.service":%[1]q}},
"spec":{"containers":[{"name":"couchdb","volumeMounts":[{"name":"v","mountPath":"/opt/couchdb/data","subPath":%[3]q},{"name":"v","mountPath":"/opt/couchdb/etc/local.d","subPath":"local.d"}]}],"volumes":[{"name":"v","persistentVolumeClaim":{"claimName":%[2]q}}]}}}}`, service, claim, subPath))
}

func TestRecordOf(t *testing.T) {
	sets, strays := tags.Reassemble(snapshotsOf("u1", 3, true))
	if len(sets) != 1 || len(strays) != 0 || !sets[0].Whole() {
		t.Fatalf("%+v, %v", sets, strays)
	}
	r, err := RecordOf(sets[0], nil)
	if err != nil || !r.FromTags || len(r.Nodes) != 3 || r.UID != "u1" || r.CutTime != at("2026-03-01T01:00:00Z") {
		t.Fatalf("%+v, %v", r, err)
	}
	if n := r.Nodes[1]; n.Service != "couchdb-2" || n.ErlangName != "couchdb@couchdb-2.medic.svc.cluster.local" || n.Claim != "couchdb-2-claim0" || n.Method != "EBS" || n.EBS.Region != "eu-west-1" ||
		n.EBS.VolumeID != "vol-00000002" || n.SnapshotHandle != "snap-aaaaaaaaa0000002" || n.CapacityBytes != 8<<30 || n.DataSubPath != "data" || !n.ConfigOnVolume {
		t.Errorf("%+v", n)
	}
	sets, _ = tags.Reassemble(snapshotsOf("u2", 1, true))
	if r, err = RecordOf(sets[0], nil); err != nil || r.Nodes[0].ErlangName != "couchdb@127.0.0.1" {
		t.Errorf("%+v, %v", r, err)
	}
	broken, _ := tags.Reassemble(append(snapshotsOf("u3", 3, true)[1:], snapshotsOf("u4", 3, false)...))
	for _, s := range broken {
		if _, err := RecordOf(s, nil); err == nil || !strings.Contains(err.Error(), "broken") {
			t.Errorf("%s: %v", s.UID, err)
		}
	}
	entries, details, byKey := OfSets(broken)
	if len(entries) != 2 || len(details) != 2 || len(byKey) != 2 || entries[0].Broken == "" || len(Matching(broken, Wanted{Namespace: "medic", UID: "u4"})) != 1 || len(Matching(broken, Wanted{Namespace: "x"})) != 0 {
		t.Errorf("%+v", entries)
	}
}

func TestFits(t *testing.T) {
	sets, _ := tags.Reassemble(snapshotsOf("u1", 2, true))
	record, err := RecordOf(sets[0], nil)
	if err != nil {
		t.Fatal(err)
	}
	one, two := deployment("couchdb-1", "couchdb-1-claim0", "data"), deployment("couchdb-2", "couchdb-2-claim0", "data")
	api := deployment("api", "x", "")
	for name, tt := range map[string]struct {
		objects []json.RawMessage
		says    string
	}{
		"all there":           {[]json.RawMessage{one, two, api}, ""},
		"nothing":             {nil, "no workload of CouchDB"},
		"another component":   {[]json.RawMessage{api}, "no workload of CouchDB"},
		"one node":            {[]json.RawMessage{one}, "set the number of CouchDB nodes to 2"},
		"a third node":        {[]json.RawMessage{one, two, deployment("couchdb-3", "c", "data")}, "couchdb-3 has no snapshot"},
		"another claim":       {[]json.RawMessage{one, deployment("couchdb-2", "other", "data")}, "mounts no claim couchdb-2-claim0"},
		"data somewhere else": {[]json.RawMessage{one, deployment("couchdb-2", "couchdb-2-claim0", "storage/medic-core")}, `CouchDB's data lies in "data"`},
		"twice":               {[]json.RawMessage{one, one}, "two workloads"},
	} {
		record.Objects = tt.objects
		err := Fits(record)
		if (err == nil) != (tt.says == "") || err != nil && !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%s: %v, want %q", name, err, tt.says)
		}
	}
}

func TestMergeAndLacking(t *testing.T) {
	secret := json.RawMessage(`{"apiVersion":"v1","kind":"Secret","metadata":{"name":"cht-couchdb-credentials","namespace":"medic"},"data":{"COUCHDB_USER":"YQ==","COUCHDB_PASSWORD":"Yg=="}}`)
	empty := json.RawMessage(`{"apiVersion":"v1","kind":"Secret","metadata":{"name":"cht-couchdb-credentials"},"data":{"COUCHDB_USER":"YQ=="}}`)
	r := catalog.Record{Namespace: "medic", Name: "n", UID: "u", Objects: []json.RawMessage{empty,
		json.RawMessage(`{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"c"},"data":{"token":"sealed-by-cht-backup"}}`)}}
	held := []bucket.Held{{Kind: "Secret", Name: "cht-couchdb-credentials"}, {Kind: "Secret", Name: "tls"}, {Kind: "ConfigMap", Name: "c"}}
	if l := Lacking(r, held); !l.Credentials || len(l.Secrets) != 1 || l.Secrets[0] != "tls" || len(l.Values) != 1 || l.Values[0] != "ConfigMap/c" {
		t.Errorf("%+v", l)
	}
	merged, replaced, added, err := Merge(r, []json.RawMessage{secret, json.RawMessage(`{"apiVersion":"v1","kind":"Secret","metadata":{"name":"tls"}}`), json.RawMessage(`{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"c"}}`)})
	if err != nil || len(replaced) != 2 || len(added) != 1 || len(merged.Objects) != 3 || len(r.Objects) != 2 {
		t.Errorf("%v, %v, %v", replaced, added, err)
	}
	if l := Lacking(merged, held); l.Any() {
		t.Errorf("%+v", l)
	}
	if _, _, _, err := Merge(r, []json.RawMessage{json.RawMessage(`{"apiVersion":"v1","kind":"Secret","metadata":{"name":"x","namespace":"other"}}`)}); err == nil {
		t.Error("an object of another namespace is taken")
	}
}

func TestWithCopies(t *testing.T) {
	r := catalog.Record{Nodes: []catalog.Node{{Service: "couchdb-1"}, {Service: "couchdb-2"}}}
	c := bucket.Copy{Name: "dr", Region: "eu-central-1", Account: "1", Volumes: []bucket.CopiedVolume{{Node: "couchdb-1", Handle: "snap-1"}, {Node: "couchdb-2", Handle: "snap-2", KMSKeyID: "k"}, {Node: "other", Handle: "snap-3"}}}
	got := WithCopies(WithCopies(r, []bucket.Copy{c}), []bucket.Copy{c})
	if len(r.Nodes[0].Copies) != 0 || len(got.Nodes[0].Copies) != 1 || len(got.Nodes[1].Copies) != 1 || got.Nodes[1].Copies[0] != (catalog.Copy{Name: "dr", Region: "eu-central-1", Account: "1", Handle: "snap-2", KMSKeyID: "k"}) {
		t.Errorf("%+v", got.Nodes)
	}
}
