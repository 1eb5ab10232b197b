package bucket

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"slices"
	"strings"
	"testing"

	"filippo.io/age"
	"gocloud.dev/blob"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/snapshot/catalog"
)

// each runs a test on every kind of bucket there is here.
func each(t *testing.T, test func(t *testing.T, b *Bucket)) {
	t.Run("mem", func(t *testing.T) { test(t, memory()) })
	t.Run("file", func(t *testing.T) {
		b, err := Open(t.Context(), "file://"+t.TempDir()+"/deep/catalog")
		if err != nil {
			t.Fatal(err)
		}
		test(t, b)
	})
	t.Run("s3", func(t *testing.T) {
		b, err := Open(t.Context(), s3URL(t))
		if err != nil {
			t.Fatal(err)
		}
		test(t, b)
	})
}

func heads(t *testing.T, b *Bucket, namespace string) (found []Head, ignored Ignored) {
	t.Helper()
	ignored, err := b.Heads(t.Context(), namespace, func(h Head) error { found = append(found, h); return nil })
	if err != nil {
		t.Fatal(err)
	}
	return found, ignored
}

func objectsOf(t *testing.T, r catalog.Record) map[string]any {
	t.Helper()
	all := map[string]any{}
	for _, raw := range r.Objects {
		var o map[string]any
		if err := json.Unmarshal(raw, &o); err != nil {
			t.Fatal(err)
		}
		all[o["kind"].(string)+"/"+o["metadata"].(map[string]any)["name"].(string)] = o
	}
	return all
}

// A record comes back as it was for those who hold the identity, and for others
// without a credential.
func TestRoundTrip(t *testing.T) {
	each(t, func(t *testing.T, b *Bucket) {
		identity, recipient := keys(t)
		r := record(t, "cht-kilifi", "nightly-2026", "4c9d-1")
		by := Writer{Cluster: "c-1", Program: "0.4", Recipients: []string{recipient}}
		put, err := b.Put(t.Context(), r, by)
		if err != nil {
			t.Fatal(err)
		}
		if again, err := b.Put(t.Context(), r, by); err != nil || !reflect.DeepEqual(again, put) {
			t.Errorf("the same record again: %v", err)
		}
		other := r
		other.CouchDB = "9"
		if _, err := b.Put(t.Context(), other, by); err == nil || !strings.Contains(err.Error(), HeadOf(r).Key()) {
			t.Errorf("another record under the same key: %v", err)
		}
		found, ignored := heads(t, b, "cht-kilifi")
		if !slices.Equal(found, []Head{HeadOf(r)}) || ignored.Count != 0 {
			t.Fatalf("found %v, ignored %v", found, ignored)
		}
		m, open, err := b.Record(t.Context(), found[0])
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(m, put) || m.Secrets.State != api.SecretsSealed || m.Documents != 7 || m.Nodes[0].Method != api.MethodCSI {
			t.Errorf("manifest %+v", m)
		}
		if err := b.scan(t.Context(), words); err != nil {
			t.Error(err)
		}
		if got := Placeholders(open); !slices.Equal(got, []string{"ConfigMap/couch-ini", "Deployment/cht-api"}) {
			t.Errorf("placeholders in %v", got)
		}
		secrets, err := b.Secrets(t.Context(), m, identity)
		if err != nil {
			t.Fatal(err)
		}
		full, err := secrets.Into(open)
		if err != nil {
			t.Fatal(err)
		}
		if got, want := objectsOf(t, full), objectsOf(t, r); !reflect.DeepEqual(got, want) {
			t.Errorf("objects\n got %v\nwant %v", got, want)
		}
		if string(full.Release.Values) != string(r.Release.Values) || !reflect.DeepEqual(full.Before, r.Before) || !reflect.DeepEqual(full.Nodes, r.Nodes) || !full.CutTime.Equal(r.CutTime) {
			t.Errorf("record %+v", full)
		}
		stranger, _ := keys(t)
		_, err = b.Secrets(t.Context(), m, stranger)
		if none := new(age.NoIdentityMatchError); !errors.As(err, &none) || !strings.Contains(err.Error(), recipient) {
			t.Errorf("a stranger's identity: %v", err)
		}
		if err := b.Delete(t.Context(), found[0]); err != nil {
			t.Fatal(err)
		}
		if err := b.Delete(t.Context(), found[0]); err != nil {
			t.Errorf("deleted twice: %v", err)
		}
		if left := allKeys(t, b); !slices.Equal(left, []string{rootKey}) {
			t.Errorf("left %v", left)
		}
	})
}

func allKeys(t *testing.T, b *Bucket) (keys []string) {
	t.Helper()
	for all := b.blobs.List(nil); ; {
		o, err := all.Next(t.Context())
		if errors.Is(err, io.EOF) {
			return keys
		}
		if err != nil {
			t.Fatal(err)
		}
		keys = append(keys, o.Key)
	}
}

// Without a recipient nothing of the Secrets leaves, and the manifest names what a
// restore will need.
func TestLeftOut(t *testing.T) {
	b := memory()
	m, err := b.Put(t.Context(), record(t, "cht", "b", "u"), Writer{Cluster: "c"})
	if err != nil {
		t.Fatal(err)
	}
	if err := b.scan(t.Context(), words); err != nil {
		t.Error(err)
	}
	if _, err := b.Secrets(t.Context(), m); !errors.Is(err, ErrLeftOut) {
		t.Errorf("secrets: %v", err)
	}
	want := []Held{
		{"Secret", "cht-couchdb-credentials", []string{"COUCHDB_PASSWORD", "COUCHDB_USER"}},
		{"ConfigMap", "couch-ini", []string{"/data/admin.ini"}},
		{"Deployment", "cht-api", []string{"/metadata/annotations/note", "/spec/template/spec/containers/0/args/0", "/spec/template/spec/containers/0/env/0/value", "/spec/template/spec/containers/0/env/1/value"}},
		{"HelmRelease", "cht", []string{"values"}},
	}
	if !reflect.DeepEqual(m.Secrets.Held, want) {
		t.Errorf("held %v", m.Secrets.Held)
	}
}

// The scan finds what it is for, in every form.
func TestScanFinds(t *testing.T) {
	b := memory()
	if err := b.scan(t.Context(), words); err != nil {
		t.Fatal(err)
	}
	packed, err := catalog.Encode(record(t, "cht", "b", "u"))
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string][]byte{"plain": []byte("x" + password + "y"), "zipped": packed, "base64": []byte("eyJ4IjoiY29ycmVjdC1ob3JzZS1iYXR0ZXJ5In0=")} {
		if err := b.blobs.WriteAll(context.Background(), name, text, &blob.WriterOptions{}); err != nil {
			t.Fatal(err)
		}
		if err := b.scan(t.Context(), words); err == nil || !strings.Contains(err.Error(), name) || strings.Contains(err.Error(), password) {
			t.Errorf("%s: %v", name, err)
		}
		if err := b.blobs.Delete(context.Background(), name); err != nil {
			t.Fatal(err)
		}
	}
}

// Whatever form a credential takes, the search of the tests finds it.
func TestContains(t *testing.T) {
	const word = "p/w%d@of#the&lost"
	pack := func(text string) string {
		var b bytes.Buffer
		zip := gzip.NewWriter(&b)
		if _, err := io.WriteString(zip, text); errors.Join(err, zip.Close()) != nil {
			t.Fatal(err)
		}
		return b.String()
	}
	for name, text := range map[string]string{
		"as it is": "a " + word + " b", "packed": "a" + pack("x"+word), "hexadecimal": hex.EncodeToString([]byte("ab" + word + "c")), "in capitals": fmt.Sprintf("%X", "a"+word),
		"base64": base64.StdEncoding.EncodeToString([]byte(word)), "base64 from the 2nd": base64.StdEncoding.EncodeToString([]byte("a" + word + "z")),
		"base64 from the 3rd": base64.URLEncoding.EncodeToString([]byte("ab" + word + "z")), "packed base64": pack(base64.StdEncoding.EncodeToString([]byte("user:" + word))),
	} {
		if i, in := Contains([]byte(text), []string{"another", word}); !in || i != 1 {
			t.Errorf("%s: %d, %v", name, i, in)
		}
	}
	if _, in := Contains([]byte("p/w%d@of#the&los"), []string{word}); in {
		t.Error("half a word is found")
	}
}
