package restore

import (
	"context"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha1" //nolint:gosec // what CouchDB before 3.4 reads
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"net/url"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/version"
	"sigs.k8s.io/controller-runtime/pkg/client"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/restore/prepare"
	"github.com/medic/cht-backup/snapshot/cht"
	"github.com/medic/cht-backup/snapshot/reason"
)

// New credentials are made once and kept in a Secret of the restore until they
// are on every volume and in the CHT's own Secret. The pods that write them to the
// volumes get the hash alone. They never stand in a status, an event or a log.

func rotationName(restore *api.Restore) string {
	return fmt.Sprintf("cht-restore-%.8s-credentials", restore.UID)
}

// The keys of the CHT's Secret that a rotation changes.
const (
	userKey     = "COUCHDB_USER"
	passwordKey = "COUCHDB_PASSWORD"
	secretKey   = "COUCHDB_SECRET"
	urlKey      = "COUCH_URL"
)

// rotates tells whether the restored instance gets new credentials.
func (w *work) rotates() bool { return w.restore.Spec.Credentials == api.CredentialsRotate }

// preflightRotation refuses where there is no Secret to put new credentials into.
func preflightRotation(w *work) error {
	if !w.rotates() {
		return nil
	}
	if _, err := userOf(w.source); err != nil {
		return err
	}
	w.caution("the admin password and the cookie secret change: everybody has to log in again, and what knows the old password from elsewhere than Secret %s must be told the new one", cht.CredentialsSecret)
	for _, node := range w.record.Nodes {
		if !node.ConfigOnVolume {
			w.caution("%s has no configuration on its volume: it takes the new credentials from Secret %s when it starts, and other admins than its user as well as their passwords come from wherever its configuration does", node.Service, cht.CredentialsSecret)
		}
	}
	return nil
}

// userOf is the admin that the CHT uses.
func userOf(objects []*unstructured.Unstructured) (string, error) {
	for _, o := range objects {
		if !isCredentials(o) {
			continue
		}
		encoded, _, _ := unstructured.NestedString(o.Object, "data", userKey)
		user, err := base64.StdEncoding.DecodeString(encoded)
		if err != nil || len(user) == 0 {
			break
		}
		if strings.ContainsAny(string(user), "=\r\n[];:@") || strings.TrimSpace(string(user)) != string(user) {
			return "", reason.Refuse(api.ReasonCredentials, "the user in Secret %s has a name that cannot be written into CouchDB's configuration; restore with credentials Keep", cht.CredentialsSecret)
		}
		return string(user), nil
	}
	return "", reason.Refuse(api.ReasonCredentials, "the backup has no Secret %s with %s, so there is nothing to rotate; restore with credentials Keep", cht.CredentialsSecret, userKey)
}

// makeRotation makes the new credentials, or finds those that it made before.
func (r *Reconciler) makeRotation(ctx context.Context, w *work) error {
	if !w.rotates() {
		return nil
	}
	user, err := userOf(w.source)
	if err != nil {
		return err
	}
	password, secret := rand.Text(), rand.Text() // letters and digits, 130 bits: nothing in them needs escaping
	hash, err := hashAdmin(password, w.record.CouchDB)
	if err != nil {
		return err
	}
	yes := true
	fresh := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: w.restore.Namespace, Name: rotationName(w.restore), Labels: marks(w.restore, "")}, Immutable: &yes,
		Data: map[string][]byte{passwordKey: []byte(password), prepare.UserKey: []byte(user), prepare.HashKey: []byte(hash), prepare.SecretKey: []byte(secret)},
	}
	if err := r.create(ctx, w.restore, fresh); err != nil {
		return fmt.Errorf("create secret %s/%s: %w", fresh.Namespace, fresh.Name, err)
	}
	return nil
}

// Iterations of the hash. Before 3.4 CouchDB hashes at every request, and takes
// 10 by default; the passwords made here have 130 bits and need none.
const (
	iterations    = 600000
	oldIterations = 10
)

// hashAdmin gives a password as it stands in CouchDB's configuration. Versions
// before 3.4 know SHA-1 only, which all later ones read too.
func hashAdmin(password, couchDB string) (string, error) {
	salt := make([]byte, 16)
	_, _ = rand.Read(salt) // never fails
	text := hex.EncodeToString(salt)
	if v, err := version.ParseGeneric(couchDB); err != nil || v.LessThan(version.MajorMinor(3, 4)) {
		key, err := pbkdf2.Key(sha1.New, password, []byte(text), oldIterations, sha1.Size)
		if err != nil {
			return "", fmt.Errorf("hash the new password: %w", err)
		}
		return fmt.Sprintf("-pbkdf2-%x,%s,%d", key, text, oldIterations), nil
	}
	key, err := pbkdf2.Key(sha256.New, password, []byte(text), iterations, sha256.Size)
	if err != nil {
		return "", fmt.Errorf("hash the new password: %w", err)
	}
	return fmt.Sprintf("-pbkdf2:sha256-%x,%s,%d", key, text, iterations), nil
}

// rotated puts the new credentials into the CHT's Secret among what is applied.
func (r *Reconciler) rotated(ctx context.Context, w *work) error {
	if !w.rotates() {
		return nil
	}
	var fresh corev1.Secret
	key := client.ObjectKey{Namespace: w.restore.Namespace, Name: rotationName(w.restore)}
	if err := r.Client.Get(ctx, key, &fresh); apierrors.IsNotFound(err) {
		return reason.Refuse(api.ReasonCredentials, "secret %s/%s with the new credentials is gone, and without it nobody knows the password on the volumes; restore again", key.Namespace, key.Name)
	} else if err != nil {
		return fmt.Errorf("get secret %s/%s: %w", key.Namespace, key.Name, err)
	}
	for _, o := range w.target {
		if isCredentials(o) {
			return rotateSecret(o, string(fresh.Data[prepare.UserKey]), string(fresh.Data[passwordKey]), string(fresh.Data[prepare.SecretKey]))
		}
	}
	return nil
}

// rotateSecret changes the keys of the CHT's Secret that hold the password and the
// cookie secret, and keeps all others.
func rotateSecret(o *unstructured.Unstructured, user, password, secret string) error {
	data, _, err := unstructured.NestedStringMap(o.Object, "data")
	if err != nil {
		return fmt.Errorf("secret %s: %w", o.GetName(), err)
	}
	if data == nil {
		data = map[string]string{}
	}
	set := func(key, value string) { data[key] = base64.StdEncoding.EncodeToString([]byte(value)) }
	set(passwordKey, password)
	set(secretKey, secret)
	if raw, err := base64.StdEncoding.DecodeString(data[urlKey]); err == nil && len(raw) > 0 {
		fresh, ok := withPassword(string(raw), user, password)
		if !ok {
			return reason.Refuse(api.ReasonCredentials, "%s of secret %s is no URL with a user, so the new password cannot be put into it; restore with credentials Keep", urlKey, o.GetName())
		}
		set(urlKey, fresh)
	}
	return unstructured.SetNestedStringMap(o.Object, data, "data")
}

// withPassword gives a URL with another user and password. The charts escape the
// password as in a query, and it may hold whatever it likes: the host begins after
// the last @ before the path.
func withPassword(raw, user, password string) (string, bool) {
	scheme, rest, ok := strings.Cut(raw, "://")
	if !ok {
		return "", false
	}
	at := strings.LastIndex(rest, "@")
	if at < 0 {
		return "", false
	}
	return scheme + "://" + url.PathEscape(user) + ":" + url.QueryEscape(password) + rest[at:], true
}

// dropRotation deletes the new credentials where they are not needed any more.
func (r *Reconciler) dropRotation(ctx context.Context, w *work) error {
	if !w.rotates() {
		return nil
	}
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: w.restore.Namespace, Name: rotationName(w.restore)}}
	if err := r.Client.Delete(ctx, secret); client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("delete secret %s/%s: %w", secret.Namespace, secret.Name, err)
	}
	return nil
}

// mountRotation gives a prepare-volume pod what it writes: the hash and the cookie
// secret, as files. The password itself stays away from it.
func mountRotation(restore *api.Restore, pod *corev1.PodSpec) {
	mode := int32(0o400)
	var items []corev1.KeyToPath
	for _, key := range []string{prepare.UserKey, prepare.HashKey, prepare.SecretKey} {
		items = append(items, corev1.KeyToPath{Key: key, Path: key})
	}
	pod.Volumes = append(pod.Volumes, corev1.Volume{Name: "credentials", VolumeSource: corev1.VolumeSource{
		Secret: &corev1.SecretVolumeSource{SecretName: rotationName(restore), Items: items, DefaultMode: &mode}}})
	pod.Containers[0].VolumeMounts = append(pod.Containers[0].VolumeMounts, corev1.VolumeMount{Name: "credentials", MountPath: credentialsPath, ReadOnly: true})
	pod.Containers[0].Command = append(pod.Containers[0].Command, "--credentials", credentialsPath)
}

// otherAdmins notes whose passwords a rotation leaves as they are.
func otherAdmins(restore *api.Restore, names []string) {
	if len(names) == 0 {
		return
	}
	slices.Sort(names)
	note(restore, fmt.Sprintf("CouchDB's other admins keep their passwords: %s", strings.Join(slices.Compact(names), ", ")))
}

// note adds a note once: a step may be repeated.
func note(restore *api.Restore, text string) {
	if !slices.Contains(restore.Status.Notes, text) {
		restore.Status.Notes = append(restore.Status.Notes, text)
	}
}
