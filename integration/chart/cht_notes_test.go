package chart

import (
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

func TestCHTNotes(t *testing.T) {
	const snapshots = "snapshot.storage.k8s.io/v1/VolumeSnapshot"
	bucket := "cht-backup: {controller: {catalog: {url: 's3://bucket/cht', recipients: [age1xyz]}}}"
	longhorn := live(t, "{apiVersion: v1, kind: PersistentVolumeClaim, metadata: {name: couchdb-claim0}, spec: {storageClassName: longhorn, resources: {requests: {storage: 1Gi}}}}")
	for _, c := range []struct {
		name, values string
		apis         []string
		there        []*unstructured.Unstructured
		has, hasNot  []string
	}{
		{"all is well", "{" + bucket + ", backup: {drill: {enabled: true}}, ingress: {host: cht.example.org}}", []string{snapshots}, nil,
			[]string{"https://cht.example.org", "kubectl cht backup -n clinic\n", "kubectl cht status -n clinic\n", "kubectl cht restore --from clinic/BACKUP --to clinic-clone\n", "get secret cht-couchdb-credentials -n clinic", "nightly (30 1 * * *, Etc/UTC)", "1 node and Nouveau, API, HAProxy"},
			[]string{"WARNING", "drills"}},
		{"k3s", "platform: k3s", []string{snapshots}, nil, []string{"copies CouchDB's files", "A VOLUME OF THIS CLUSTER", "IS LOST WITH IT", "no recipient", "No drills", "get ingress api-ingress"}, []string{"NO BACKUP WILL SUCCEED"}},
		{"k3s with a bucket", "{platform: k3s, " + bucket + "}", nil, nil, []string{"copies CouchDB's files"}, []string{"NO BACKUP WILL SUCCEED", "A VOLUME OF THIS CLUSTER"}},
		{"k3s without a catalog", "{platform: k3s, cht-backup: {controller: {catalog: {url: none}}}}", []string{snapshots}, nil, []string{"NO BACKUP WILL SUCCEED"}, nil},
		{"k3s with a class of its own", "{platform: k3s, couchdb: {storage: {className: longhorn}}}", []string{snapshots}, nil, nil, []string{"NO BACKUP WILL SUCCEED", "copies CouchDB's files"}},
		{"k3s with a claim of its own", "{platform: k3s}", []string{snapshots}, []*unstructured.Unstructured{longhorn}, nil, []string{"NO BACKUP WILL SUCCEED"}},
		{"no snapshots", "platform: vsphere", nil, nil, []string{"copies CouchDB's files"}, []string{"NO BACKUP WILL SUCCEED"}},
		{"eks without the snapshot controller", "{platform: eks, ingress: {type: none}}", nil, nil, []string{"taken by EC2 itself", "port-forward -n clinic service/api"}, []string{"NO BACKUP WILL SUCCEED"}},
		{"host path", "couchdb: {existingVolumes: [{hostPath: {path: /srv}}]}", []string{snapshots}, nil, []string{"copies CouchDB's files"}, []string{"NO BACKUP WILL SUCCEED"}},
		{"nginx", "ingress: {type: nginx}", []string{snapshots}, nil, []string{"get service nginx -n clinic", "signed by itself"}, nil},
		{"nginx with a certificate", "{ingress: {type: nginx, host: a.example.org}, nginx: {tls: {secretName: t}}}", []string{snapshots}, nil, []string{"https://a.example.org"}, []string{"signed by itself"}},
		{"no schedule", "backup: {enabled: false}", []string{snapshots}, nil, []string{"NO BACKUPS ARE TAKEN"}, []string{"nightly", "No drills"}},
		{"catalog none", "cht-backup: {controller: {catalog: {url: none}}}", []string{snapshots}, nil, []string{"IS LOST WITH IT"}, nil},
		{"other namespaces", "cht-backup: {namespaces: ['{{ .Release.Namespace }}', uat], namespaceOverride: cht-backup-system}", []string{snapshots}, nil, []string{"--to uat\n"}, []string{"--system-namespace"}},
		{"no namespace for a clone", "cht-backup: {namespaces: [clinic]}", []string{snapshots}, nil, []string{"--to NAMESPACE-IN-cht-backup.namespaces"}, nil},
		{"a controller elsewhere", "cht-backup: {enabled: false}", []string{snapshots}, nil, []string{"--to clinic-clone\n"}, []string{"IS LOST WITH IT", "no recipient"}},
		{"three nodes and a slash", "{couchdb: {nodes: 3}, credentials: {password: a/b}, nouveau: {enabled: false}}", []string{snapshots}, nil, []string{"3 nodes, API", "has a slash"}, []string{"Nouveau", "a/b"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			r, err := Render(chtFolder, chtValues(t, c.values), Release{Name: "cht", Namespace: "clinic", APIs: c.apis, Live: c.there})
			if err != nil {
				t.Fatal(err)
			}
			for _, text := range c.has {
				if !strings.Contains(r.Notes, text) {
					t.Errorf("the notes are without %q:\n%s", text, r.Notes)
				}
			}
			for _, text := range c.hasNot {
				if strings.Contains(r.Notes, text) {
					t.Errorf("the notes have %q:\n%s", text, r.Notes)
				}
			}
		})
	}
}
