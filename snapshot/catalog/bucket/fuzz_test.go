package bucket

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"runtime"
	"strings"
	"testing"

	"filippo.io/age"

	"github.com/medic/cht-backup/snapshot/catalog"
)

// spent fails a fuzz target that takes more memory for an input than it may: a floor,
// and so many times its size, which the bounds of what is read then bound in turn.
func spent(t *testing.T, input int, work func()) {
	t.Helper()
	const floor, times = 16 << 20, 400
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	work()
	runtime.ReadMemStats(&after)
	if took := after.TotalAlloc - before.TotalAlloc; took > floor+times*uint64(input) { //nolint:gosec // a length
		t.Errorf("%d bytes of input took %d of memory", input, took)
	}
}

func FuzzKey(f *testing.F) {
	for _, key := range []string{"v1/heads/cht/20260701T120000.123456Z_nightly_4c9d-1.json", "v1/heads/../20260701T120000.123456Z_a_b.json", "v1/heads/a%2fb/x.json",
		"v1/heads/cht/20260701T120000.123456Z_n_u.json/", "v1/heads/", "", "v1/heads/ñ/é", "v1/heads/cht/20260230T120000.000000Z_n_u.json"} {
		f.Add(key)
	}
	f.Fuzz(func(t *testing.T, key string) {
		spent(t, len(key), func() {
			h, err := ParseKey(key)
			if err != nil {
				return
			}
			if h.Key() != key || h.Check() != nil || strings.Contains(key, "..") && !strings.Contains(h.Name, ".") || strings.ContainsAny(key, "\\%\x00") {
				t.Errorf("%q was taken as %+v", key, h)
			}
		})
	})
}

func FuzzManifest(f *testing.F) {
	_, recipient := keys(f)
	b := memory()
	for _, by := range []Writer{{Cluster: "c"}, {Cluster: "c", Program: "1", Recipients: []string{recipient}}} {
		r := record(f, "cht", "b", "u")
		if by.Program != "" {
			r.UID = "u2"
		}
		m, err := b.Put(f.Context(), r, by)
		if err != nil {
			f.Fatal(err)
		}
		text, err := json.Marshal(m)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	f.Add([]byte(`{"format":1}`))
	f.Add([]byte(strings.Repeat("[", 50)))
	f.Fuzz(func(t *testing.T, text []byte) {
		spent(t, len(text), func() {
			m, err := decodeManifest(text)
			if err != nil {
				return
			}
			// What is taken can be written and read again as the same.
			again, err := json.Marshal(m)
			if err != nil {
				t.Fatal(err)
			}
			if m2, err := decodeManifest(again); err != nil || m2.Head() != m.Head() {
				t.Errorf("taken once and not again: %v", err)
			}
			for _, file := range m.Files {
				if strings.ContainsAny(file.Name, "/\\") || file.Bytes > maxPacked {
					t.Errorf("file %+v", file)
				}
			}
		})
	})
}

func FuzzRecord(f *testing.F) {
	r := record(f, "cht", "b", "u")
	m := manifestOf(r, "c", "p")
	open, _, _, err := split(r)
	if err != nil {
		f.Fatal(err)
	}
	plain, err := json.Marshal(open)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(plain, false)
	packed, err := catalog.Encode(open)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(packed, true)
	f.Add([]byte(`{"format":1,"namespace":"cht","name":"b","uid":"u","nodes":[{"dataSubPath":"../.."}]}`), false)
	f.Fuzz(func(t *testing.T, text []byte, zipped bool) {
		const most = 1 << 20 // of what is unpacked; in the bucket it is maxPlain
		size := len(text)
		if zipped {
			size = most
		} else { // the fuzzer would never get through gzip
			var b bytes.Buffer
			zip := gzip.NewWriter(&b)
			if _, err := zip.Write(text); errors.Join(err, zip.Close()) != nil {
				t.Fatal(err)
			}
			text = b.Bytes()
		}
		spent(t, size, func() {
			if _, err := catalog.Decode(text, most); err != nil {
				return
			}
			r, err := decodeRecord(text, m)
			if err != nil {
				return
			}
			for _, n := range r.Nodes {
				if strings.HasPrefix(n.DataSubPath, "/") || strings.Contains("/"+n.DataSubPath+"/", "/../") || strings.ContainsAny(n.DataSubPath+n.ConfigSubPath+n.Claim+n.ErlangName, "\x00\n") {
					t.Errorf("node %+v", n)
				}
			}
			if _, err := (Secrets{UID: r.UID}).Into(r); err != nil {
				t.Errorf("a record that was taken cannot be completed: %v", err)
			}
		})
	})
}

func FuzzSecrets(f *testing.F) {
	r := record(f, "cht", "b", "u")
	m := manifestOf(r, "c", "p")
	open, kept, _, err := split(r)
	if err != nil {
		f.Fatal(err)
	}
	plain, err := json.Marshal(kept)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(plain)
	f.Add([]byte(`{"format":1,"uid":"u","values":[{"apiVersion":"apps/v1","kind":"Deployment","name":"cht-api","path":"/metadata/name","text":"x"}]}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		spent(t, len(text)+len(plain), func() {
			s, err := decodeSecrets(text, m)
			if err != nil {
				return
			}
			full, err := s.Into(open)
			if err == nil {
				err = full.Check()
				if err != nil {
					t.Error(err)
				}
			}
		})
	})
}

// What an age file may hold before anything is known of who made it.
func FuzzSealed(f *testing.F) {
	identity, recipient := keys(f)
	to, err := Recipients([]string{recipient})
	if err != nil {
		f.Fatal(err)
	}
	r := record(f, "cht", "b", "u")
	m := manifestOf(r, "c", "p")
	sealed, err := seal(Secrets{Format: sealedFormat, UID: "u"}, to)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(sealed)
	f.Add([]byte("age-encryption.org/v1\n-> scrypt AAAA 30\nAAAA\n---"))
	f.Fuzz(func(t *testing.T, text []byte) {
		spent(t, len(text), func() { _, _ = openSealed(text, m, []age.Identity{identity}) })
	})
}

func FuzzCopy(f *testing.F) {
	f.Add([]byte(`{"format":1,"uid":"u","name":"eu","region":"eu-west-1","account":"123456789012","volumes":[{"node":"couchdb-1","handle":"snap-0123456789abcdef0"}]}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		spent(t, len(text), func() {
			if c, err := decodeCopy(text); err == nil && c.check() != nil {
				t.Error("a note that is none was taken")
			}
		})
	})
}
