package bucket

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"filippo.io/age"
	"gocloud.dev/blob/memblob"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/yaml"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/snapshot/catalog"
	"github.com/medic/cht-backup/snapshot/couchdb"
)

const (
	password = "correct-horse-battery"
	token    = "tok-9f8e7d6c5b4a"
	inValues = "helm-given-password"
	inIni    = "hashed-admin-secret"
)

// words are the credentials of the test's instance.
var words = []string{password, token, inValues, inIni}

var epoch = time.Date(2026, 7, 1, 12, 0, 0, 123456789, time.UTC)

func object(t testing.TB, text string) json.RawMessage {
	t.Helper()
	raw, err := yaml.YAMLToJSON([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func record(t testing.TB, namespace, name string, uid types.UID) catalog.Record {
	t.Helper()
	const node = "couchdb@127.0.0.1"
	m := couchdb.ShardMap{ID: "medic", Suffix: []int{46, 49}, Changelog: [][]string{{"add", "00000000-ffffffff", node}},
		ByNode: map[string][]string{node: {"00000000-ffffffff"}}, ByRange: map[string][]string{"00000000-ffffffff": {node}}, Props: json.RawMessage(`{}`)}
	survey := catalog.Survey{ShardMaps: map[string]couchdb.ShardMap{"medic": m}, Counts: map[string]couchdb.Counts{"medic": {Documents: 7, Deleted: 1}}}
	b64 := func(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }
	in := func(text string) json.RawMessage { return object(t, fmt.Sprintf(text, namespace)) }
	return catalog.Record{Namespace: namespace, Name: name, UID: uid, CutTime: epoch, Consistency: api.Consistent, CouchDB: "3.5.2", Format: catalog.FormatVersion,
		Nodes: []catalog.Node{{Service: "couchdb", ErlangName: node, Claim: "couchdb-claim0", CapacityBytes: 1 << 30, DataSubPath: "data", ConfigOnVolume: true, ConfigSubPath: "local.d",
			Driver: "ebs.csi.aws.com", SnapshotHandle: "snap-0123456789abcdef0", SnapshotContent: "snapcontent-1"}},
		Before: survey, After: survey,
		Objects: []json.RawMessage{
			in(`{apiVersion: v1, kind: Secret, metadata: {name: cht-couchdb-credentials, namespace: %s}, type: Opaque, data: {COUCHDB_USER: ` + b64("medic") + `, COUCHDB_PASSWORD: ` + b64(password) + `}}`),
			in(`{apiVersion: v1, kind: ConfigMap, metadata: {name: couch-ini, namespace: %s}, data: {plain.ini: "[log]\nlevel = info\n", admin.ini: "[admins]\nmedic = ` + inIni + `\n"}}`),
			in(`{apiVersion: v1, kind: Service, metadata: {name: couchdb, namespace: %s}, spec: {selector: {cht.service: couchdb}, ports: [{port: 5984}]}}`),
			in(`{apiVersion: apps/v1, kind: Deployment, metadata: {name: cht-api, namespace: %s, annotations: {note: "remember ` + password + `"}}, spec: {replicas: 1, selector: {matchLabels: {cht.service: api}},
			  template: {metadata: {labels: {cht.service: api}}, spec: {containers: [{name: api, image: "cht-api:4.19", args: ["--token=` + token + `", "--level=3"], env: [
			    {name: COUCH_URL, value: "http://medic:` + password + `@haproxy:5984/medic"}, {name: API_TOKEN, value: "` + token + `"}, {name: BUILDS_URL, value: "https://staging.example/builds"},
			    {name: COUCH_URL_FROM, value: "http://$(COUCHDB_USER):$(COUCHDB_PASSWORD)@haproxy:5984/"}, {name: DB_PASSWORD, valueFrom: {secretKeyRef: {name: s, key: password}}}]}]}}}}`),
		},
		Images: []catalog.Image{{Component: "api", Container: "api", Image: "cht-api:4.19"}},
		Release: &catalog.Release{Name: "cht", Revision: 3, Chart: "cht-chart-4x", Version: "1.2.3", AppVersion: "4.19",
			Values: json.RawMessage(`{"couchdb":{"password":"` + inValues + `"}}`)}}
}

// keys makes an identity and its recipient.
func keys(t testing.TB) (*age.X25519Identity, string) {
	t.Helper()
	identity, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	return identity, identity.Recipient().String()
}

func memory() *Bucket { return On(memblob.OpenBucket(nil), "mem://") }
