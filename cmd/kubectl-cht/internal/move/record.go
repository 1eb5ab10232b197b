package move

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"github.com/medic/cht-backup/snapshot/catalog"
	"github.com/medic/cht-backup/snapshot/cht"
	"github.com/medic/cht-backup/snapshot/compose/project"
	"github.com/medic/cht-backup/snapshot/couchdb"
)

// Moved is a record that restores to Kubernetes.
type Moved struct {
	Record catalog.Record
	// Values of charts/cht, as YAML, that take over what the restore brings up. There is
	// nothing secret in them.
	Values string
	// Notes say what is not as it was.
	Notes []string
}

// Record makes one of a Compose project's.
func Record(r catalog.Record, o Options) (Moved, error) {
	if r.Compose == nil {
		return Moved{}, fmt.Errorf("backup %s/%s is of no Compose project", r.Namespace, r.Name)
	}
	v, notes := values(r, o)
	objects, err := render(r.Namespace, v)
	if err != nil {
		return Moved{}, err
	}
	text, err := yaml.Marshal(v)
	if err != nil {
		return Moved{}, err
	}
	m := Moved{Record: r, Values: string(text), Notes: notes}
	for _, raw := range r.Objects { // CouchDB's credentials; the project's files stay behind
		if is, err := catalog.CheckObject(raw, r.Namespace); err == nil && is.Kind == "Secret" && is.Metadata.Name == cht.CredentialsSecret {
			objects = append(objects, raw)
		}
	}
	if pair := certificate(r); pair != nil && o.Host != "" {
		objects = append(objects, pair)
	}
	m.Record.Objects, m.Record.Release = objects, nil
	compose := *r.Compose
	compose.Files = nil
	m.Record.Compose = &compose
	if err := rename(&m.Record); err != nil {
		return m, err
	}
	return m, m.Record.Check()
}

// rename gives CouchDB's nodes the names that Kubernetes gives them, in the record's own
// namespace: the restore then changes that as in any other record.
func rename(r *catalog.Record) error {
	names := map[string]string{}
	r.Nodes = slices.Clone(r.Nodes)
	for i := range r.Nodes {
		n := &r.Nodes[i]
		name := cht.SingleNodeName
		if len(r.Nodes) > 1 {
			name = "couchdb@" + n.Service + "." + r.Namespace + ".svc.cluster.local"
		}
		names[n.ErlangName], n.ErlangName = name, name
	}
	for _, s := range []*catalog.Survey{&r.Before, &r.After} {
		maps := map[string]couchdb.ShardMap{}
		for database, m := range s.ShardMaps {
			renamed, err := m.Renamed(names)
			if err != nil {
				return err
			}
			maps[database] = renamed
		}
		s.ShardMaps = maps
	}
	return nil
}

// certificate gives nginx's certificate and key as a Secret for the ingress; nil where the
// record has none.
func certificate(r catalog.Record) json.RawMessage {
	files, err := project.Recorded(r, catalog.ComposeCertificatesSecret)
	if err != nil || len(files) == 0 {
		return nil
	}
	data := map[string]string{}
	for _, f := range files {
		switch f.Path {
		case "cert.pem":
			data[corev1.TLSCertKey] = base64.StdEncoding.EncodeToString(f.Data)
		case "key.pem":
			data[corev1.TLSPrivateKeyKey] = base64.StdEncoding.EncodeToString(f.Data)
		}
	}
	if len(data) != 2 {
		return nil
	}
	raw, err := json.Marshal(map[string]any{"apiVersion": "v1", "kind": "Secret", "type": string(corev1.SecretTypeTLS),
		"metadata": metav1.ObjectMeta{Namespace: r.Namespace, Name: tlsSecret}, "data": data})
	if err != nil {
		return nil
	}
	return raw
}
