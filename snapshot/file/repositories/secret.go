package repositories

import (
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/medic/cht-backup/snapshot/file/keyring"
	"github.com/medic/cht-backup/snapshot/file/repo"
)

const (
	prefix = "backup.communityhealthtoolkit.org/"
	// The names of package keyring.
	Label             = keyring.Label
	UseLabel          = keyring.UseLabel
	SecretType        = keyring.SecretType
	KeyData           = keyring.KeyData
	catalogAnnotation = keyring.CatalogAnnotation

	// The annotations: that it was made in its catalog; when it was last looked after.
	madeAnnotation   = prefix + "repository-made"
	tendedAnnotation = prefix + "repository-tended"
)

// Use says what a repository is to this cluster.
type Use = keyring.Use

// The uses.
const (
	Write = keyring.Write
	Read  = keyring.Read
)

// SecretName is the name of a repository's Secret.
func SecretName(id string) string { return keyring.SecretName(id) }

// SecretOf makes the Secret of a repository's key.
func SecretOf(namespace, id string, key repo.Key, use Use, source, catalogURL string) *corev1.Secret {
	return keyring.SecretOf(namespace, id, key, use, source, catalogURL)
}

// keyOf reads the key out of its Secret.
func keyOf(secret *corev1.Secret) (repo.Key, error) {
	key, err := repo.ParseKey(string(secret.Data[KeyData]))
	if err != nil {
		return key, fmt.Errorf("secret %s/%s: %w", secret.Namespace, secret.Name, err)
	}
	return key, nil
}

// tended is when a repository was last looked after; zero for never.
func tended(secret *corev1.Secret) time.Time {
	at, _ := time.Parse(time.RFC3339, secret.Annotations[tendedAnnotation])
	return at
}
