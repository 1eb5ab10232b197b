package bucket

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"filippo.io/age"

	"github.com/medic/cht-backup/snapshot/catalog"
)

// overwrite puts something in an object's place.
func overwrite(t *testing.T, b *Bucket, key string, text []byte) {
	t.Helper()
	if err := b.write(context.Background(), key, text, false); err != nil {
		t.Fatal(err)
	}
}

// remanifest changes a manifest as its owner could not.
func remanifest(t *testing.T, b *Bucket, h Head, change func(*Manifest)) {
	t.Helper()
	m, err := b.Manifest(t.Context(), h)
	if err != nil {
		t.Fatal(err)
	}
	change(&m)
	text, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	overwrite(t, b, h.Key(), text)
}

func zipped(t *testing.T, text []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	zip := gzip.NewWriter(&b)
	if _, err := zip.Write(text); errors.Join(err, zip.Close()) != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// rerecord puts another record in place, with a manifest that goes with it.
func rerecord(t *testing.T, b *Bucket, h Head, packed []byte) {
	t.Helper()
	overwrite(t, b, dataKey(h.UID, recordFile), packed)
	remanifest(t, b, h, func(m *Manifest) { m.Files[0] = fileOf(recordFile, packed) })
}

// Whatever is wrong with a record is told with the object's name, and nothing of it
// is used.
func TestRefusals(t *testing.T) {
	for name, tt := range map[string]struct {
		harm func(t *testing.T, b *Bucket, h Head)
		key  string // "": the manifest's
		says string
	}{
		"no JSON":           {func(t *testing.T, b *Bucket, h Head) { overwrite(t, b, h.Key(), []byte("{")) }, "", "decode"},
		"an empty manifest": {func(t *testing.T, b *Bucket, h Head) { overwrite(t, b, h.Key(), nil) }, "", "decode"},
		"a huge manifest":   {func(t *testing.T, b *Bucket, h Head) { overwrite(t, b, h.Key(), make([]byte, maxManifest+1)) }, "", "are the most"},
		"a newer manifest":  {func(t *testing.T, b *Bucket, h Head) { remanifest(t, b, h, func(m *Manifest) { m.Format = 2 }) }, "", "newer cht-backup"},
		"another's manifest": {func(t *testing.T, b *Bucket, h Head) {
			remanifest(t, b, h, func(m *Manifest) { m.Namespace = "victim" })
		}, "", "it says that it is of"},
		"a file elsewhere": {func(t *testing.T, b *Bucket, h Head) {
			remanifest(t, b, h, func(m *Manifest) { m.Files[0].Name = "../other/record.json.gz" })
		}, "", "has no place"},
		"a file too large": {func(t *testing.T, b *Bucket, h Head) {
			remanifest(t, b, h, func(m *Manifest) { m.Files[0].Bytes = 1 << 40 })
		}, "", "are the most"},
		"a deep manifest": {func(t *testing.T, b *Bucket, h Head) { overwrite(t, b, h.Key(), []byte(strings.Repeat("[", 5000))) }, "", "nested deeper"},
		"a wild escape": {func(t *testing.T, b *Bucket, h Head) {
			remanifest(t, b, h, func(m *Manifest) { m.Cluster = "\x1b[2J" })
		}, "", "cannot be shown"},
		"values in the open": {func(t *testing.T, b *Bucket, h Head) {
			remanifest(t, b, h, func(m *Manifest) { m.Release.Values = []byte(`{}`) })
		}, "", "belong sealed"},
		"a file gone": {func(t *testing.T, b *Bucket, h Head) {
			if err := b.drop(t.Context(), dataKey(h.UID, recordFile)); err != nil {
				t.Fatal(err)
			}
		}, recordFile, "gone"},
		"a file cut short": {func(t *testing.T, b *Bucket, h Head) { overwrite(t, b, dataKey(h.UID, recordFile), []byte("x")) }, recordFile, "damaged"},
		"a file with more": {func(t *testing.T, b *Bucket, h Head) {
			overwrite(t, b, dataKey(h.UID, recordFile), make([]byte, 1<<20))
		}, recordFile, "are the most"},
		"a bomb": {func(t *testing.T, b *Bucket, h Head) { rerecord(t, b, h, zipped(t, make([]byte, maxPlain+1))) }, recordFile, "more than"},
		"another's record": {func(t *testing.T, b *Bucket, h Head) {
			packed, err := catalog.Encode(catalog.Record{Namespace: "victim", Name: "b", UID: "u"})
			if err != nil {
				t.Fatal(err)
			}
			rerecord(t, b, h, packed)
		}, recordFile, "not say of whom"},
		"a Secret in the open": {func(t *testing.T, b *Bucket, h Head) {
			rerecord(t, b, h, with(t, `{"apiVersion":"v1","kind":"Secret","metadata":{"name":"x"}}`))
		}, recordFile, "no place in it"},
		"a cluster's role": {func(t *testing.T, b *Bucket, h Head) {
			rerecord(t, b, h, with(t, `{"apiVersion":"rbac.authorization.k8s.io/v1","kind":"ClusterRole","metadata":{"name":"x"}}`))
		}, recordFile, "no place in it"},
		"of another namespace": {func(t *testing.T, b *Bucket, h Head) {
			rerecord(t, b, h, with(t, `{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"x","namespace":"kube-system"},"Metadata":{"namespace":"cht"}}`))
		}, recordFile, "kube-system"},
		"a path out of the volume": {func(t *testing.T, b *Bucket, h Head) {
			r := record(t, h.Namespace, h.Name, h.UID)
			r.Objects, r.Nodes[0].DataSubPath = nil, "data/../../etc"
			packed, err := catalog.Encode(r)
			if err != nil {
				t.Fatal(err)
			}
			rerecord(t, b, h, packed)
		}, recordFile, "leads out"},
	} {
		t.Run(name, func(t *testing.T) {
			b := memory()
			r := record(t, "cht", "b", "4c9d")
			if _, err := b.Put(t.Context(), r, Writer{Cluster: "c"}); err != nil {
				t.Fatal(err)
			}
			h := HeadOf(r)
			tt.harm(t, b, h)
			key := h.Key()
			if tt.key != "" {
				key = dataKey(h.UID, tt.key)
			}
			_, _, err := b.Record(t.Context(), h)
			var refused *Refused
			if !errors.As(err, &refused) || refused.Key != key || !strings.Contains(err.Error(), tt.says) || len(err.Error()) > 1000 {
				t.Errorf("got %v", err)
			}
		})
	}
}

// with is a record with one object more.
func with(t *testing.T, object string) []byte {
	t.Helper()
	r := record(t, "cht", "b", "4c9d")
	r.Objects = []json.RawMessage{json.RawMessage(object)}
	packed, err := catalog.Encode(r)
	if err != nil {
		t.Fatal(err)
	}
	return packed
}

// Keys that are none of ours hinder nobody.
func TestHostileKeys(t *testing.T) {
	b := memory()
	r := record(t, "cht", "b", "4c9d")
	if _, err := b.Put(t.Context(), r, Writer{Cluster: "c"}); err != nil {
		t.Fatal(err)
	}
	good := HeadOf(r).Key()
	bad := []string{headsUnder + "../x.json", headsUnder + "cht/../../" + "a_b_c.json", headsUnder + "cht/20260701T120000.000000Z_a%2fb_u.json", headsUnder + "çht/20260701T120000.000000Z_b_u.json",
		headsUnder + "cht/20260701T120000.000000Z_" + strings.Repeat("x", 900) + "_u.json", headsUnder + "cht/20261301T120000.000000Z_b_u.json", headsUnder + "cht/20260701T120000.000000Z_b_u_v.json",
		headsUnder + "CHT/20260701T120000.000000Z_b_u.json", headsUnder + "cht/x/20260701T120000.000000Z_b_u.json", headsUnder + "cht/20260701T120000.0000000Z_b_u.json", good + "\n", good + ".json"}
	for _, key := range bad {
		overwrite(t, b, key, []byte("{}"))
	}
	found, ignored := heads(t, b, "")
	if !slices.Equal(found, []Head{HeadOf(r)}) || ignored.Count != len(bad) || !strings.Contains(ignored.String(), "ignored") {
		t.Errorf("found %v, ignored %+v", found, ignored)
	}
}

// More than one page of records is listed, in order.
func TestPages(t *testing.T) {
	b := memory()
	if err := b.found(t.Context()); err != nil {
		t.Fatal(err)
	}
	const n = 2500
	for i := range n {
		overwrite(t, b, fmt.Sprintf("%scht/20260701T12%02d%02d.000000Z_b_u%d.json", headsUnder, i/60, i%60, i), []byte("{}"))
	}
	found, ignored := heads(t, b, "cht")
	if len(found) != n || ignored.Count != 0 || !slices.IsSortedFunc(found, func(a, b Head) int { return a.CutTime.Compare(b.CutTime) }) {
		t.Errorf("found %d, ignored %+v", len(found), ignored)
	}
}

// What is sealed by somebody else, for another backup, or cut short.
func TestHostileSecrets(t *testing.T) {
	identity, recipient := keys(t)
	to, err := Recipients([]string{recipient})
	if err != nil {
		t.Fatal(err)
	}
	b := memory()
	r := record(t, "cht", "b", "4c9d")
	m, err := b.Put(t.Context(), r, Writer{Cluster: "c", Recipients: []string{recipient}})
	if err != nil {
		t.Fatal(err)
	}
	_, open, err := b.Record(t.Context(), m.Head())
	if err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		secrets Secrets
		says    string
	}{
		"another backup's":     {Secrets{Format: 1, UID: "other"}, "another backup"},
		"a newer format":       {Secrets{Format: 2, UID: "4c9d"}, "newer cht-backup"},
		"a role":               {Secrets{Format: 1, UID: "4c9d", Objects: []json.RawMessage{[]byte(`{"apiVersion":"rbac.authorization.k8s.io/v1","kind":"Role","metadata":{"name":"x"}}`)}}, "no Secret"},
		"another namespace's":  {Secrets{Format: 1, UID: "4c9d", Objects: []json.RawMessage{[]byte(`{"apiVersion":"v1","kind":"Secret","metadata":{"name":"x","namespace":"kube-system"}}`)}}, "no Secret"},
		"a name":               {Secrets{Format: 1, UID: "4c9d", Values: []Value{{"apps/v1", "Deployment", "cht-api", "/metadata/name", "x"}}}, "nothing was sealed"},
		"an image":             {Secrets{Format: 1, UID: "4c9d", Values: []Value{{"apps/v1", "Deployment", "cht-api", "/spec/template/spec/containers/0/image", "evil"}}}, "nothing was sealed"},
		"no place":             {Secrets{Format: 1, UID: "4c9d", Values: []Value{{"apps/v1", "Deployment", "cht-api", "/spec/template/spec/containers/99/image", "evil"}}}, "no place"},
		"what is not there":    {Secrets{Format: 1, UID: "4c9d", Values: []Value{{"apps/v1", "Deployment", "other", "/a", "x"}}}, "does not have"},
		"a Secret that exists": {Secrets{Format: 1, UID: "4c9d", Objects: []json.RawMessage{[]byte(`{"apiVersion":"v1","kind":"Secret","metadata":{"name":"x"}}`), []byte(`{"apiVersion":"v1","kind":"Secret","metadata":{"name":"x"}}`)}}, "twice"},
	} {
		sealed, err := seal(tt.secrets, to)
		if err != nil {
			t.Fatal(err)
		}
		s, err := openSealed(sealed, m, []age.Identity{identity})
		if err == nil {
			_, err = s.Into(open)
		}
		if err == nil || !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%s: %v", name, err)
		}
	}
	sealed, err := b.read(t.Context(), dataKey("4c9d", secretsFile), maxSealed)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := openSealed(sealed[:len(sealed)-1], m, []age.Identity{identity}); err == nil {
		t.Error("half a file was opened")
	}
}

func TestFind(t *testing.T) {
	each(t, func(t *testing.T, b *Bucket) {
		if b.url == "mem://" {
			return // it has no URL that can be opened
		}
		base, query, _ := strings.Cut(b.url, "?")
		if query != "" {
			query = "?" + query
		}
		if _, _, err := Find(t.Context(), b.url); !errors.Is(err, ErrNoCatalog) {
			t.Errorf("before anything was written: %v", err)
		}
		if _, err := b.Put(t.Context(), record(t, "cht", "b", "u"), Writer{Cluster: "c"}); err != nil {
			t.Fatal(err)
		}
		for below, want := range map[string]Scope{"": {}, "/": {}, "/cht": {Namespace: "cht"}, "/cht/": {Namespace: "cht"}, "/cht/nightly": {Namespace: "cht", Name: "nightly"}} {
			found, scope, err := Find(t.Context(), base+below+query)
			if err != nil || scope != want || found.URL() != b.url {
				t.Errorf("%s: %+v, %v", below, scope, err)
			}
		}
		for _, below := range []string{"/a/b/c", "/CHT", "/cht/a_b"} {
			if _, _, err := Find(t.Context(), base+below+query); err == nil {
				t.Errorf("%s was found", below)
			}
		}
		overwrite(t, b, rootKey, []byte(`{"product":"cht-backup","layout":2}`))
		if _, _, err := Find(t.Context(), b.url); err == nil || !strings.Contains(err.Error(), "newer") || !strings.Contains(err.Error(), rootKey) {
			t.Errorf("a newer layout: %v", err)
		}
		overwrite(t, b, rootKey, []byte(`{"name":"something else"}`))
		if _, err := b.Put(t.Context(), record(t, "cht", "b2", "u2"), Writer{}); err == nil || !strings.Contains(err.Error(), "another place") {
			t.Errorf("another program's place: %v", err)
		}
	})
}

func TestURLs(t *testing.T) {
	for raw, want := range map[string]string{
		"s3://b":                          "s3://b",
		"s3://b/p/q/?region=eu-west-1":    "s3://b/p/q?region=eu-west-1",
		"file:///c//d/":                   "file:///c/d",
		"azblob://c/p?storage_account=a":  "azblob://c/p?storage_account=a",
		"s3://b?endpoint=http://s3.local": "s3://b?endpoint=http%3A%2F%2Fs3.local",
	} {
		if got := CleanURL(raw); got != want {
			t.Errorf("%s: %q", raw, got)
		}
	}
	for raw, says := range map[string]string{
		"": "scheme", "mem://": "scheme", "http://x/y": "scheme", "s3://": "no place", "file:///": "no place", "file://host/x": "no place",
		"s3://AKIA:hunter2@b": "credentials", "s3://b?AWS_SECRET_ACCESS_KEY=hunter2": "parameter", "azblob://c?sig=hunter2": "parameter", "gs://b?private_key_path=/hunter2": "parameter",
		"s3://b?endpoint=http://u:hunter2@h": "no credentials", "s3://b?prefix=x": "prefix", "file:///a/../b": "path", "s3://b/%2e%2e/x": "path", "file:///a?secret_key_path=/hunter2": "parameter", "s3://b#x": "form", "s3://hunter2:%zz": "none",
	} {
		_, err := Open(t.Context(), raw)
		if err == nil || !strings.Contains(err.Error(), says) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %v", raw, err)
		}
	}
	err := said(errors.New("GET https://a.blob.core.windows.net/c?sv=2020&sig=hunter2&x=1 X-Amz: https://b.s3/k?X-Amz-Credential=hunter2&X-Amz-Signature=hunter2\n  and more"))
	if strings.Contains(err.Error(), "hunter2") || strings.Contains(err.Error(), "\n") {
		t.Error(err)
	}
}

// A machine that dies while a record is written leaves what can be written again.
func TestInterruptedWrites(t *testing.T) {
	dir := t.TempDir()
	b, err := Open(t.Context(), "file://"+dir)
	if err != nil {
		t.Fatal(err)
	}
	r := record(t, "cht", "b", "4c9d")
	h := HeadOf(r)
	_, recipient := keys(t)
	by := Writer{Cluster: "c", Recipients: []string{recipient}}
	left := map[string]string{dataKey(h.UID, recordFile): "half", dataKey(h.UID, secretsFile): "half", headsUnder + "cht/" + unfinished + "123": "half"}
	for key, text := range left {
		path := filepath.Join(dir, key)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o750), os.WriteFile(path, []byte(text), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := b.Put(t.Context(), r, by); err != nil {
		t.Fatal(err)
	}
	found, ignored := heads(t, b, "")
	if !slices.Equal(found, []Head{h}) || ignored.Count != 0 {
		t.Errorf("found %v, ignored %v", found, ignored)
	}
	if _, _, err := b.Record(t.Context(), h); err != nil {
		t.Error(err)
	}
}

func TestCopies(t *testing.T) {
	each(t, func(t *testing.T, b *Bucket) {
		if _, err := b.Put(t.Context(), record(t, "cht", "b", "4c9d"), Writer{Cluster: "c"}); err != nil {
			t.Fatal(err)
		}
		c := Copy{UID: "4c9d", Name: "eu", Region: "eu-west-1", Account: "123456789012", CompletionTime: epoch, Volumes: []CopiedVolume{{Node: "couchdb", Handle: "snap-0123456789abcdef0"}}}
		for range 2 {
			if err := b.PutCopy(t.Context(), c); err != nil {
				t.Fatal(err)
			}
		}
		overwrite(t, b, copyKey("4c9d", "bad"), []byte(`{"format":1,"uid":"4c9d","name":"bad","region":"../..","volumes":[]}`))
		copies, warnings, err := b.Copies(t.Context(), "4c9d")
		if err != nil || len(copies) != 1 || copies[0].Volumes[0] != c.Volumes[0] || len(warnings) != 1 || !strings.Contains(warnings[0].Error(), "copy-bad.json") {
			t.Errorf("copies %+v, warnings %v, %v", copies, warnings, err)
		}
		other := c
		other.Volumes = []CopiedVolume{{Node: "couchdb", Handle: "snap-00000000000000000"}}
		if err := b.PutCopy(t.Context(), other); err == nil || !strings.Contains(err.Error(), "not replaced") {
			t.Errorf("another copy: %v", err)
		}
	})
}
