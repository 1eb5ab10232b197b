package move

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/resource"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/snapshot/catalog"
	"github.com/medic/cht-backup/snapshot/couchdb"
)

const registry = "registry.example.org/cht/"

// composeRecord is that of a project with so many nodes.
func composeRecord(t *testing.T, nodes int) catalog.Record {
	t.Helper()
	r := catalog.Record{Namespace: "medic.compose", Name: "b", UID: "u-1", CutTime: time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC), Consistency: api.Consistent, CouchDB: "3.5.2",
		Compose: &catalog.Compose{Project: "medic", Dir: "/srv/cht", Host: "h"}}
	m := couchdb.ShardMap{ID: "medic", Suffix: []int{46, 49}, ByNode: map[string][]string{}, ByRange: map[string][]string{}, Props: json.RawMessage(`{}`)}
	for i := range nodes {
		service, name := "couchdb", "couchdb@127.0.0.1"
		if nodes > 1 {
			service, name = fmt.Sprintf("couchdb-%d", i+1), fmt.Sprintf("couchdb@couchdb-%d.local", i+1)
		}
		shard := fmt.Sprintf("%08x-%08x", i, i)
		m.ByNode[name], m.ByRange[shard] = []string{shard}, []string{name}
		m.Changelog = append(m.Changelog, []string{"add", shard, name})
		r.Nodes = append(r.Nodes, catalog.Node{Service: service, ErlangName: name, Claim: service + "-claim0", CapacityBytes: 10 << 30, DataSubPath: "data", ConfigSubPath: "local.d", ConfigOnVolume: true, Method: api.MethodFile,
			File: &api.FileVolume{Repository: "0a1b2c", Tree: "20260701T120000.000000Z_0e5f-7_" + service, Files: 7, Size: resource.NewQuantity(7, resource.BinarySI), Complete: true}})
		r.Compose.Nodes = append(r.Compose.Nodes, catalog.ComposeNode{Node: service, Service: service + ".local"})
	}
	r.Before = catalog.Survey{ShardMaps: map[string]couchdb.ShardMap{"medic": m}, Counts: map[string]couchdb.Counts{"medic": {Documents: 7}}}
	r.After = r.Before
	for component, image := range map[string]string{"couchdb": "cht-couchdb", "haproxy": "cht-haproxy", "healthcheck": "cht-haproxy-healthcheck", "api": "cht-api", "sentinel": "cht-sentinel", "nginx": "cht-nginx", "upgrade-service": "cht-upgrade-service"} {
		r.Images = append(r.Images, catalog.Image{Component: component, Container: component, Image: registry + image + ":4.21.0"})
	}
	secret := func(name string, data map[string]string) {
		for k, v := range data {
			data[k] = base64.StdEncoding.EncodeToString([]byte(v))
		}
		raw, err := json.Marshal(map[string]any{"apiVersion": "v1", "kind": "Secret", "metadata": map[string]any{"name": name, "namespace": r.Namespace}, "data": data})
		if err != nil {
			t.Fatal(err)
		}
		r.Objects = append(r.Objects, raw)
	}
	secret("cht-couchdb-credentials", map[string]string{"COUCHDB_USER": "medic", "COUCHDB_PASSWORD": "p;w", "COUCHDB_SECRET": "s", "COUCHDB_UUID": "u", "COUCH_URL": "http://medic:p%3Bw@haproxy.medic.compose.svc.cluster.local:5984/medic"})
	secret(catalog.ComposeFilesSecret, map[string]string{"00-cht.yml": "services: {cht-api: {image: x, environment: ['BUILDS_URL=${B:-https://builds.example.org/b}']}}"})
	secret(catalog.ComposeCertificatesSecret, map[string]string{"00-cert.pem": "CERT", "01-key.pem": "KEY"})
	for _, f := range [][3]string{{"cht.yml", catalog.ComposeFilesSecret, "00-cht.yml"}, {"cert.pem", catalog.ComposeCertificatesSecret, "00-cert.pem"}, {"key.pem", catalog.ComposeCertificatesSecret, "01-key.pem"}} {
		r.Compose.Files = append(r.Compose.Files, catalog.ComposeFile{Path: f[0], Mode: 0o600, Secret: f[1], Key: f[2]})
	}
	if err := r.Check(); err != nil {
		t.Fatal(err)
	}
	return r
}

func names(t *testing.T, r catalog.Record) (all []string) {
	t.Helper()
	for _, raw := range r.Objects {
		o, err := catalog.CheckObject(raw, r.Namespace)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, o.Kind+"/"+o.Metadata.Name)
	}
	return all
}

func TestRecordOneNode(t *testing.T) {
	m, err := Record(composeRecord(t, 1), Options{})
	if err != nil {
		t.Fatal(err)
	}
	all := names(t, m.Record)
	for _, want := range []string{"Deployment/cht-couchdb", "Service/couchdb", "Deployment/cht-api", "Deployment/cht-sentinel", "Deployment/cht-haproxy", "Secret/cht-couchdb-credentials"} {
		if !slices.Contains(all, want) {
			t.Errorf("there is no %s in %v", want, all)
		}
	}
	for _, o := range all {
		for _, never := range []string{"Secret/compose", "Ingress/", "PersistentVolumeClaim/", "BackupSchedule/", "Secret/cht-tls"} {
			if strings.HasPrefix(o, never) {
				t.Errorf("there is %s", o)
			}
		}
	}
	if m.Record.Nodes[0].ErlangName != "couchdb@127.0.0.1" {
		t.Errorf("the node is called %s", m.Record.Nodes[0].ErlangName)
	}
	for _, secret := range []string{"p;w", "p%3Bw", "CERT", "KEY"} {
		if strings.Contains(m.Values, secret) {
			t.Errorf("the values hold a secret:\n%s", m.Values)
		}
	}
	if !strings.Contains(m.Values, "buildsUrl: https://builds.example.org/b") || !strings.Contains(m.Values, registry+"cht-api:4.21.0") {
		t.Errorf("values\n%s", m.Values)
	}
}

func TestRecordCluster(t *testing.T) {
	r := composeRecord(t, 3)
	m, err := Record(r, Options{Host: "cht.example.org", Values: map[string]any{"couchdb": map[string]any{"logLevel": "warning"}, "platform": "k3s"}})
	if err != nil {
		t.Fatal(err)
	}
	name := "couchdb@couchdb-2.medic.compose.svc.cluster.local"
	if m.Record.Nodes[1].ErlangName != name || len(m.Record.After.ShardMaps["medic"].ByNode[name]) != 1 {
		t.Errorf("node 2 is %s, its map %v", m.Record.Nodes[1].ErlangName, m.Record.After.ShardMaps)
	}
	if _, old := r.Before.ShardMaps["medic"].ByNode["couchdb@couchdb-2.local"]; !old || r.Nodes[1].ErlangName != "couchdb@couchdb-2.local" {
		t.Error("the record that was given is changed")
	}
	text := ""
	for _, raw := range m.Record.Objects {
		text += string(raw)
	}
	for _, want := range []string{"couchdb-3.medic.compose.svc.cluster.local", `"meta.helm.sh/release-namespace":"medic.compose"`, `"meta.helm.sh/release-name":"cht"`, `"app.kubernetes.io/managed-by":"Helm"`, "cht.example.org", `"secretName":"cht-tls"`, `"value":"warning"`, "couchdb-2-claim0"} {
		if !strings.Contains(text, want) {
			t.Errorf("the objects lack %s", want)
		}
	}
	if all := names(t, m.Record); !slices.Contains(all, "Secret/cht-tls") || !slices.ContainsFunc(all, func(o string) bool { return strings.HasPrefix(o, "Ingress/") }) {
		t.Errorf("objects %v", all)
	}
}

func TestRecordRefuses(t *testing.T) {
	r := composeRecord(t, 1)
	r.Images = slices.DeleteFunc(r.Images, func(i catalog.Image) bool { return i.Component == "api" })
	if _, err := Record(r, Options{}); err == nil || !strings.Contains(err.Error(), "images.api") {
		t.Errorf("no image of the API: %v", err)
	}
	if _, err := Record(composeRecord(t, 1), Options{Values: map[string]any{"platforms": "k3s"}}); err == nil || !strings.Contains(err.Error(), "platforms") {
		t.Errorf("a misspelt value: %v", err)
	}
	r.Compose = nil
	if _, err := Record(r, Options{}); err == nil {
		t.Error("a record of Kubernetes was moved")
	}
}
