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
	// The annotations: that it was made in its catalog; when it was last looked after.
	madeAnnotation   = prefix + "repository-made"
	tendedAnnotation = prefix + "repository-tended"
)

// keyOf reads the key out of its Secret.
func keyOf(secret *corev1.Secret) (repo.Key, error) {
	key, err := repo.ParseKey(string(secret.Data[keyring.KeyData]))
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
