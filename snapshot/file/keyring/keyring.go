// Package keyring is how keys of repositories lie in a cluster: as Secrets in the
// controller's namespace. In: a key. Out: its Secret. The controller keeps those that it
// makes; the plugin, on whatever machine, hands it those that it restores with.
package keyring

import (
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/snapshot/file/repo"
)

const (
	prefix = "backup.communityhealthtoolkit.org/"
	// Label has the repository's ID, and is on every Secret that holds a key of one.
	Label = prefix + "repository"
	// UseLabel says what the repository is to this cluster.
	UseLabel = prefix + "repository-use"
	// SecretType of those Secrets.
	SecretType = corev1.SecretType(prefix + "repository")
	// KeyData is the key's text in them.
	KeyData = "key"
	// CatalogAnnotation says in which catalog the repository is.
	CatalogAnnotation = prefix + "repository-catalog"
)

// Use says what a repository is to this cluster.
type Use string

// The uses.
const (
	// Write: backups of an instance of this cluster go into it.
	Write Use = "write"
	// Read: another cluster, or a Compose host, writes it. It is restored from.
	Read Use = "read"
)

// SecretName is the name of a repository's Secret.
func SecretName(id string) string { return "cht-backup-repository-" + id }

// SecretOf makes the Secret of a repository's key. source is the namespace, or the
// project, that is backed up into it.
func SecretOf(namespace, id string, key repo.Key, use Use, source, catalogURL string) *corev1.Secret {
	return &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: SecretName(id),
			Labels:      map[string]string{Label: id, UseLabel: string(use), api.SourceNamespaceLabel: source},
			Annotations: map[string]string{CatalogAnnotation: catalogURL}},
		Type: SecretType,
		Data: map[string][]byte{KeyData: []byte(key.Text())},
	}
}
