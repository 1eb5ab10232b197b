package command

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/url"
	"strings"

	"github.com/spf13/pflag"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/medic/cht-backup/cmd/kubectl-cht/internal/exit"
	"github.com/medic/cht-backup/cmd/kubectl-cht/internal/offsite"
	"github.com/medic/cht-backup/snapshot/cht"
)

// completing are the flags that give what a record outside the cluster lacks.
type completing struct {
	identity      identityFlag
	objects       string
	credentials   string
	acceptMissing bool
}

func (f *completing) add(flags *pflag.FlagSet) {
	f.identity.add(flags)
	flags.StringVar(&f.objects, "objects", "", "Manifests, as a `FILE|DIR`, that are added to the backup from a catalog or tags or take the place of its own, for example Secrets that were left out, or the output of `helm template`")
	flags.StringVar(&f.credentials, "credentials-from", "", "Take CouchDB's admin user and password as they were at the cut from this Secret of the cluster, as `NAMESPACE/SECRET`")
	flags.BoolVar(&f.acceptMissing, "accept-missing", false, "Go on though Secrets or values of the backup lack; what needs them does not start, or works with a placeholder")
}

// merge puts the manifests of --objects into a record.
func (e *Env) mergeObjects(f *completing, kept *offsiteKept) error {
	if f.objects == "" {
		return nil
	}
	objects, skipped, err := readObjects(f.objects, kept.record.Namespace)
	if err != nil {
		return err
	}
	if len(skipped) > 0 {
		e.note("not taken from %s, since no restore applies them: %s", f.objects, strings.Join(skipped, ", "))
	}
	record, replaced, added, err := offsite.Merge(kept.record, objects)
	if err != nil {
		return exit.Errorf(exit.Usage, "--objects: %w", err)
	}
	if len(replaced) > 0 {
		e.note("from %s in the place of the backup's own: %s", f.objects, strings.Join(replaced, ", "))
	}
	if len(added) > 0 {
		e.note("from %s: %s", f.objects, strings.Join(added, ", "))
	}
	kept.record = record
	return nil
}

// mergeCredentials puts the Secret of --credentials-from into a record, for the names
// in its namespace.
func (e *Env) mergeCredentials(ctx context.Context, c client.Client, f *completing, kept *offsiteKept) error {
	if f.credentials == "" {
		return nil
	}
	namespace, name, err := splitName(f.credentials)
	if err != nil || name == "" {
		return exit.Errorf(exit.Usage, "--credentials-from %q is not of the form NAMESPACE/SECRET", f.credentials)
	}
	var from corev1.Secret
	if err := c.Get(ctx, client.ObjectKey{Namespace: namespace, Name: name}, &from); err != nil {
		return exit.Explain("read secret "+f.credentials, err)
	}
	user, password := from.Data["COUCHDB_USER"], from.Data["COUCHDB_PASSWORD"]
	if len(user) == 0 || len(password) == 0 {
		return exit.Errorf(exit.Usage, "secret %s lacks COUCHDB_USER or COUCHDB_PASSWORD; add them, as they were when the backup was cut", f.credentials)
	}
	data := map[string][]byte{}
	for k, v := range from.Data {
		data[k] = v
	}
	data["COUCH_URL"] = fmt.Appendf(nil, "http://%s:%s@haproxy.%s.svc.cluster.local:5984/medic", user, url.QueryEscape(string(password)), kept.record.Namespace)
	raw, err := secretObject(kept.record.Namespace, cht.CredentialsSecret, data)
	if err != nil {
		return exit.Errorf(exit.Failed, "encode the credentials: %w", err)
	}
	record, _, _, err := offsite.Merge(kept.record, []json.RawMessage{raw})
	if err != nil {
		return exit.Errorf(exit.Refused, "put the credentials into the record: %w", err)
	}
	kept.record = record
	return nil
}

func secretObject(namespace, name string, data map[string][]byte) (json.RawMessage, error) {
	encoded := map[string]string{}
	for k, v := range data {
		encoded[k] = base64.StdEncoding.EncodeToString(v)
	}
	return json.Marshal(map[string]any{"apiVersion": "v1", "kind": "Secret", "type": string(corev1.SecretTypeOpaque),
		"metadata": metav1.ObjectMeta{Namespace: namespace, Name: name}, "data": encoded})
}

// lacks tells what a record still lacks, and how to give it; "" if nothing.
func lacks(l offsite.Lack, kept *offsiteKept) string {
	if !l.Any() {
		return ""
	}
	var what []string
	if l.Credentials {
		what = append(what, "CouchDB's admin user and password (Secret "+cht.CredentialsSecret+")")
	}
	if len(l.Secrets) > 0 {
		what = append(what, "Secrets "+strings.Join(l.Secrets, ", "))
	}
	if len(l.Values) > 0 {
		what = append(what, "values in "+strings.Join(l.Values, ", "))
	}
	text := fmt.Sprintf("backup %s/%s lacks %s. ", kept.record.Namespace, kept.record.Name, strings.Join(what, "; "))
	if recipients := kept.manifest.Secrets.Recipients; len(recipients) > 0 && !kept.opened {
		text += "They are sealed to " + strings.Join(recipients, ", ") + ": open them with --identity FILE. Without that key"
	} else {
		text += "The catalog does not have them"
	}
	text += ": give manifests with --objects FILE"
	if l.Credentials {
		text += ", or the credentials as they were at the cut with --credentials-from NAMESPACE/SECRET"
	}
	return text
}

// suffices refuses a record that cannot be restored into a namespace as it is.
func (e *Env) suffices(ctx context.Context, c client.Client, f *completing, kept *offsiteKept, to string) error {
	l := offsite.Lacking(kept.record, kept.manifest.Secrets.Held)
	if l.Credentials {
		var there corev1.Secret
		err := c.Get(ctx, client.ObjectKey{Namespace: to, Name: cht.CredentialsSecret}, &there)
		if err == nil {
			e.note("secret %s/%s is there and is used: the backup has none", to, cht.CredentialsSecret)
			l.Credentials = false
		} else if !apierrors.IsNotFound(err) && !apierrors.IsForbidden(err) {
			return exit.Explain("look for secret "+to+"/"+cht.CredentialsSecret, err)
		}
	}
	text := lacks(l, kept)
	switch {
	case text == "":
		return nil
	case l.Credentials:
		return exit.Errorf(exit.Refused, "%s, or create Secret %s in namespace %s before: without it nothing can be restored", text, cht.CredentialsSecret, to)
	case !f.acceptMissing:
		return exit.Errorf(exit.Refused, "%s, or go on without them with --accept-missing", text)
	}
	e.note("%s", text)
	return nil
}
