package restore

import (
	"crypto/pbkdf2"
	"crypto/sha1" //nolint:gosec // what CouchDB before 3.4 reads
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"hash"
	"net/url"
	"strconv"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/snapshot/cht"
	"github.com/medic/cht-backup/snapshot/reason"
)

// A hash is one that the CouchDB of that version takes the password for.
func TestHashAdmin(t *testing.T) {
	for _, tt := range []struct {
		version, prefix string
		new             func() hash.Hash
		size            int
	}{
		{"3.5.2", "-pbkdf2:sha256-", sha256.New, 32}, {"3.4.0", "-pbkdf2:sha256-", sha256.New, 32},
		{"3.3.3", "-pbkdf2-", sha1.New, 20}, {"2.3.1", "-pbkdf2-", sha1.New, 20}, {"", "-pbkdf2-", sha1.New, 20},
	} {
		text, err := hashAdmin("secret", tt.version)
		if err != nil || !strings.HasPrefix(text, tt.prefix) {
			t.Fatalf("%s: %s, %v", tt.version, text, err)
		}
		parts := strings.Split(strings.TrimPrefix(text, tt.prefix), ",")
		if len(parts) != 3 {
			t.Fatalf("%s: %s", tt.version, text)
		}
		n, err := strconv.Atoi(parts[2])
		if err != nil {
			t.Fatal(err)
		}
		key, err := pbkdf2.Key(tt.new, "secret", []byte(parts[1]), n, tt.size)
		if err != nil || fmt.Sprintf("%x", key) != parts[0] {
			t.Errorf("%s: the hash is not that of the password (%v)", tt.version, err)
		}
		if other, _ := hashAdmin("secret", tt.version); other == text {
			t.Errorf("%s: the same salt twice", tt.version)
		}
	}
}

func credentialsSecret(data map[string]string) *unstructured.Unstructured {
	encoded := map[string]any{}
	for k, v := range data {
		encoded[k] = base64.StdEncoding.EncodeToString([]byte(v))
	}
	return &unstructured.Unstructured{Object: map[string]any{"apiVersion": "v1", "kind": "Secret", "metadata": map[string]any{"namespace": target, "name": cht.CredentialsSecret}, "data": encoded}}
}

func TestRotateSecret(t *testing.T) {
	for _, tt := range []struct{ name, url, want string }{
		{"as the charts write it", "http://medic:old%2Fpw@haproxy.cht.svc.cluster.local:5984/medic", "http://medic:fresh@haproxy.cht.svc.cluster.local:5984/medic"},
		{"with what should have been escaped", "http://medic:p@ss/w:rd@haproxy:5984/medic", "http://medic:fresh@haproxy:5984/medic"},
		{"none", "", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			data := map[string]string{userKey: "medic", passwordKey: "old", secretKey: "s", "COUCHDB_UUID": "u", "OTHER": "x"}
			if tt.url != "" {
				data[urlKey] = tt.url
			}
			o := credentialsSecret(data)
			if err := rotateSecret(o, "medic", "fresh", "newsecret"); err != nil {
				t.Fatal(err)
			}
			got, _, _ := unstructured.NestedStringMap(o.Object, "data")
			want := map[string]string{userKey: "medic", passwordKey: "fresh", secretKey: "newsecret", "COUCHDB_UUID": "u", "OTHER": "x"}
			if tt.want != "" {
				want[urlKey] = tt.want
			}
			for k, v := range want {
				if text, err := base64.StdEncoding.DecodeString(got[k]); err != nil || string(text) != v {
					t.Errorf("%s is %q, want %q", k, text, v)
				}
			}
			if len(got) != len(want) {
				t.Errorf("keys %v", sortedKeys(got))
			}
		})
	}
	for _, bad := range []string{"haproxy:5984/medic", "http://haproxy:5984/medic"} {
		err := rotateSecret(credentialsSecret(map[string]string{urlKey: bad}), "medic", "fresh", "newsecret")
		if e := reason.Of(err); e == nil || e.Reason != api.ReasonCredentials || strings.Contains(err.Error(), "fresh") {
			t.Errorf("%s: %v", bad, err)
		}
	}
}

func TestWithPassword(t *testing.T) {
	got, ok := withPassword("http://a b:x@h/medic", "a b", "p/w%d@:?#&+ €")
	u, err := url.Parse(got)
	if !ok || err != nil || u.Host != "h" || u.Path != "/medic" || u.User.Username() != "a b" {
		t.Fatalf("%q, %v", got, err)
	}
	_, escaped, _ := strings.Cut(u.User.String(), ":")
	if plain, err := url.QueryUnescape(strings.ReplaceAll(escaped, "%2B", "+")); err != nil || plain == "" {
		t.Errorf("%q: %v", escaped, err)
	}
}

func TestUserOf(t *testing.T) {
	for _, tt := range []struct{ name, user, want, says string }{
		{"the charts'", "medic", "medic", ""}, {"none", "", "", "nothing to rotate"}, {"a name that is no key", "a=b", "", "cannot be written"},
		{"a name that would open a section", "[admins]", "", "cannot be written"}, {"two lines", "a\nb = c", "", "cannot be written"}, {"a blank at its end", "medic ", "", "cannot be written"},
	} {
		got, err := userOf([]*unstructured.Unstructured{credentialsSecret(map[string]string{userKey: tt.user})})
		if e := reason.Of(err); got != tt.want || (err == nil) != (tt.says == "") || err != nil && (e == nil || e.Reason != api.ReasonCredentials || !strings.Contains(err.Error(), tt.says)) {
			t.Errorf("%s: %q, %v", tt.name, got, err)
		}
	}
	if _, err := userOf(nil); err == nil {
		t.Error("no Secret at all is well")
	}
}

// The credentials are made once, whoever is killed when, and their pod sees the
// hash alone.
func TestRotationIsMadeOnce(t *testing.T) {
	restore := restoreOf(func(r *api.Restore) { r.Spec.Credentials = api.CredentialsRotate })
	b := newBench(t, restore)
	w := workOf(t, restore)
	for i, o := range w.source {
		if isCredentials(o) {
			w.source[i] = credentialsSecret(map[string]string{userKey: "medic", passwordKey: "old", secretKey: "s"})
		}
	}
	w.target = restored(restore, w.source, w.rewrite)
	read := func() corev1.Secret {
		t.Helper()
		var s corev1.Secret
		if err := b.Client.Get(t.Context(), client.ObjectKey{Namespace: target, Name: rotationName(restore)}, &s); err != nil {
			t.Fatal(err)
		}
		return s
	}
	if err := b.makeRotation(t.Context(), w); err != nil {
		t.Fatal(err)
	}
	first := read()
	if err := b.makeRotation(t.Context(), w); err != nil {
		t.Fatal(err)
	}
	if again := read(); again.UID != first.UID || string(again.Data[passwordKey]) != string(first.Data[passwordKey]) {
		t.Error("another password was made the second time")
	}
	pod := w.preparePod(w.record.Nodes[0], "image")
	for _, item := range pod.Spec.Volumes[1].Secret.Items {
		if item.Key == passwordKey {
			t.Error("the prepare-volume pod gets the password itself")
		}
	}
	if err := b.rotated(t.Context(), w); err != nil {
		t.Fatal(err)
	}
	for _, o := range w.target {
		if isCredentials(o) {
			got, _, _ := unstructured.NestedString(o.Object, "data", passwordKey)
			if got != base64.StdEncoding.EncodeToString(first.Data[passwordKey]) {
				t.Error("the Secret has another password than the volumes")
			}
		}
	}
	if err := b.dropRotation(t.Context(), w); err != nil {
		t.Fatal(err)
	}
	if e := reason.Of(b.rotated(t.Context(), w)); e == nil || e.Reason != api.ReasonCredentials {
		t.Errorf("without its Secret: %+v", e)
	}
}
