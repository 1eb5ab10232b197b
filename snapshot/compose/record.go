package compose

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/snapshot/catalog"
	"github.com/medic/cht-backup/snapshot/cht"
	"github.com/medic/cht-backup/snapshot/compose/project"
	"github.com/medic/cht-backup/snapshot/file/tree"
)

// Copied is one node's files in the repository.
type Copied struct {
	Repository, Tree string
	Files            tree.Tree
	// Sent bytes of all nodes up to this one's end.
	Sent int64
}

// maxSecret is how much of a project's files goes into one record.
const maxSecret = 2 << 20

// volume says in a record where a node's files are. The places on the volume, and the
// claim, are those that charts/cht has.
func volume(n Node, erlang string, c Copied) catalog.Node {
	dropped := c.Files.Dropped
	if most := 10; len(dropped) > most {
		dropped = append(slices.Clone(dropped[:most]), fmt.Sprintf("and %d more", len(dropped)-most))
	}
	return catalog.Node{
		Service: n.Service, ErlangName: erlang, Claim: n.Service + "-claim0", CapacityBytes: capacity(c.Files.Size()),
		DataSubPath: "data", ConfigSubPath: "local.d", ConfigOnVolume: true, Method: api.MethodFile,
		File: &api.FileVolume{Repository: c.Repository, Tree: c.Tree, Files: int32(len(c.Files.Files)), //nolint:gosec // far below
			Size: resource.NewQuantity(c.Files.Size(), resource.BinarySI), Sent: resource.NewQuantity(c.Sent, resource.BinarySI), Dropped: dropped, Complete: true},
	}
}

// capacity is the size of a volume for so many bytes of files: a host's disk says nothing
// of it. Compaction needs as much again.
func capacity(bytes int64) int64 {
	const gib = 1 << 30
	return max(10*gib, (3*bytes+gib-1)/gib*gib)
}

var notInKey = regexp.MustCompile(`[^-._a-zA-Z0-9]`)

// secret makes one of a record's.
func secret(namespace, name string, data map[string]string) (json.RawMessage, error) {
	encoded := map[string]string{}
	for k, v := range data {
		encoded[k] = base64.StdEncoding.EncodeToString([]byte(v))
	}
	return json.Marshal(map[string]any{"apiVersion": "v1", "kind": "Secret", "type": string(corev1.SecretTypeOpaque),
		"metadata": metav1.ObjectMeta{Namespace: namespace, Name: name}, "data": encoded})
}

// credentials are the Secret that a CHT on Kubernetes has, as CouchDB was started here.
func credentials(namespace string, i Instance) (json.RawMessage, error) {
	password := strings.ReplaceAll(url.QueryEscape(i.Password), "+", "%20")
	return secret(namespace, cht.CredentialsSecret, map[string]string{
		"COUCHDB_USER": i.User, "COUCHDB_PASSWORD": i.Password, "COUCHDB_SECRET": i.Secret, "COUCHDB_UUID": i.UUID,
		"COUCH_URL": fmt.Sprintf("http://%s:%s@haproxy.%s.svc.cluster.local:%d/medic", url.QueryEscape(i.User), password, namespace, cht.Port),
	})
}

// files gives a project's files as Secrets of the record, and where they are in them.
func files(namespace string, i Instance) (objects []json.RawMessage, told []catalog.ComposeFile, err error) {
	raw, err := credentials(namespace, i)
	if err != nil {
		return nil, nil, err
	}
	objects = append(objects, raw)
	size := 0
	for _, group := range []struct {
		secret string
		files  []project.File
	}{{catalog.ComposeFilesSecret, i.Project.Files}, {catalog.ComposeCertificatesSecret, i.Certificates}} {
		data := map[string]string{}
		for n, f := range group.files {
			key := fmt.Sprintf("%02d-%s", n, strings.TrimLeft(notInKey.ReplaceAllString(f.Path, "-"), "."))
			data[key] = string(f.Data)
			told = append(told, catalog.ComposeFile{Path: f.Path, Mode: uint32(f.Mode.Perm()), Secret: group.secret, Key: key})
			size += len(f.Data)
		}
		if len(data) == 0 {
			continue
		}
		raw, err := secret(namespace, group.secret, data)
		if err != nil {
			return nil, nil, err
		}
		objects = append(objects, raw)
	}
	if size > maxSecret {
		return nil, nil, fmt.Errorf("the files of the project have %d bytes; %d are the most: give the directory of the CHT's alone", size, maxSecret)
	}
	return objects, told, nil
}
