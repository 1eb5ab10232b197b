package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"testing"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/integration/cht"
	"github.com/medic/cht-backup/integration/harness"
	"github.com/medic/cht-backup/snapshot/catalog/bucket"
	"github.com/medic/cht-backup/snapshot/file/keyring"
)

// cloudSecret is what a test's controller is given as the secret of a cloud's account.
const cloudSecret = "a-secret-of-the-clouds-account/1"

// secretsKept looks for the credentials of an instance, the keys of its repositories and
// the controller's own in everything that was written: the bucket, the log, events, and all
// of our objects, and of others what the controller writes on them. A Secret's data alone
// may have them. They are looked for as they are, packed, in hexadecimal and in base64.
func secretsKept(ctx context.Context, t *testing.T, c *harness.Cluster, o cht.Options, url string) {
	t.Helper()
	words := []string{cloudSecret}
	of := secretData(ctx, t, c, o.Namespace)
	for _, key := range []string{"COUCHDB_PASSWORD", "COUCHDB_SECRET", "COUCH_URL"} {
		if len(of[key]) < 8 {
			t.Fatalf("the CHT's Secret has no %s that could be found again", key)
		}
		words = append(words, of[key])
	}
	home := c.ControllerHome()
	var repositories corev1.SecretList
	if err := c.Client.List(ctx, &repositories, client.InNamespace(home), client.HasLabels{keyring.Label}); err != nil || len(repositories.Items) == 0 {
		t.Fatalf("%d keys of repositories: %v", len(repositories.Items), err)
	}
	for _, secret := range repositories.Items {
		words = append(words, string(secret.Data[keyring.KeyData]))
	}

	var said bytes.Buffer
	log, err := c.ControllerLog(ctx)
	if err != nil || len(log) == 0 {
		t.Fatalf("the controller's log has %d bytes: %v", len(log), err)
	}
	said.Write(log)
	for _, namespace := range []string{o.Namespace, home} {
		for _, list := range []client.ObjectList{&api.BackupList{}, &api.RestoreList{}, &api.BackupScheduleList{}, &eventsv1.EventList{}, &corev1.ConfigMapList{}, &corev1.PersistentVolumeClaimList{}, &coordinationv1.LeaseList{}} {
			if err := c.Client.List(ctx, list, client.InNamespace(namespace)); err != nil {
				t.Fatal(err)
			}
			written(t, &said, list)
		}
		var secrets corev1.SecretList
		if err := c.Client.List(ctx, &secrets, client.InNamespace(namespace)); err != nil {
			t.Fatal(err)
		}
		for _, secret := range secrets.Items { // of those, all but the data
			written(t, &said, secret.ObjectMeta)
		}
	}
	if i, in := bucket.Contains(said.Bytes(), words); in {
		t.Errorf("credential %d of those used is in a log, an event, a status or another object", i)
	}
	if err := bucket.Scan(ctx, url, words); err != nil {
		t.Error(err)
	}
	// A search that finds nothing anywhere proves nothing.
	for i, word := range words {
		if found, in := bucket.Contains([]byte("log: "+word+"\n"), words[i:i+1]); !in || found != 0 {
			t.Errorf("credential %d is not found where it stands", i)
		}
	}
}

// written writes all of an object, with what its pointers point at, and no letter of it
// escaped.
func written(t *testing.T, out io.Writer, object any) {
	t.Helper()
	encoder := json.NewEncoder(out)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(object); err != nil {
		t.Fatal(err)
	}
}
