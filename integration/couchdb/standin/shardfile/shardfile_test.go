package shardfile

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

func open(t *testing.T, path string) *File {
	t.Helper()
	f, err := Open(NewSlots(10), path)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func put(t *testing.T, f *File, id, rev, body string) string {
	t.Helper()
	r := f.Update([]Edit{{ID: id, Rev: rev, Body: []byte(body)}})[0]
	if r.Err != nil {
		t.Fatalf("put %s: %v", id, r.Err)
	}
	return r.Rev
}

func body(t *testing.T, f *File, id string) string {
	t.Helper()
	d := f.Doc(id)
	if d == nil {
		return ""
	}
	b, err := f.Body(d, d.Winner())
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestUpdateRules(t *testing.T) {
	f := open(t, filepath.Join(t.TempDir(), "a", "x.couch"))
	r1 := put(t, f, "a", "", `{"n":1}`)
	if !strings.HasPrefix(r1, "1-") {
		t.Fatalf("first revision %s", r1)
	}
	r2 := put(t, f, "a", r1, `{"n":2}`)
	for name, e := range map[string]Edit{
		"no rev":            {ID: "a", Body: []byte(`{}`)},
		"stale rev":         {ID: "a", Rev: r1, Body: []byte(`{}`)},
		"rev of no doc":     {ID: "b", Rev: r1, Body: []byte(`{}`)},
		"delete without id": {ID: "a", Deleted: true, Body: []byte(`{}`)},
	} {
		if err := f.Update([]Edit{e})[0].Err; !errors.Is(err, ErrConflict) {
			t.Errorf("%s: %v, want conflict", name, err)
		}
	}
	// Two edits of one document in one batch: the second loses.
	rs := f.Update([]Edit{{ID: "c", Body: []byte(`{"n":1}`)}, {ID: "c", Body: []byte(`{"n":2}`)}})
	if rs[0].Err != nil || !errors.Is(rs[1].Err, ErrConflict) {
		t.Errorf("batch: %v", rs)
	}
	del := f.Update([]Edit{{ID: "a", Rev: r2, Deleted: true, Body: []byte(`{}`)}})[0]
	if in := f.Info(); in.Live != 1 || in.Deleted != 1 || in.Seq != 4 {
		t.Errorf("info %+v", in)
	}
	if r4 := put(t, f, "a", "", `{"n":4}`); !strings.HasPrefix(r4, "4-") {
		t.Errorf("recreated after %s as %s", del.Rev, r4)
	}
}

func TestReopenAfterTornTailAndCompaction(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.couch")
	f := open(t, path)
	rev := put(t, f, "a", "", `{"n":1}`)
	for i := range 20 {
		rev = put(t, f, "a", rev, fmt.Sprintf(`{"n":%d}`, i))
	}
	att := f.Update([]Edit{{ID: "att", Body: []byte(`{}`), Atts: []AttIn{{Name: "f", Type: "text/plain", Data: []byte("hello")}}}})[0]
	f.Update([]Edit{{ID: "_local/x", Local: true, Body: []byte(`{"l":1}`)}})
	if err := f.SetProp("security", []byte(`{"a":1}`)); err != nil {
		t.Fatal(err)
	}
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	// Tear: half a record at the end, as after a power cut in an unacknowledged write.
	torn := append(bytes.Clone(before), before[:30]...)
	if err := os.WriteFile(path, torn, 0o644); err != nil {
		t.Fatal(err)
	}
	f = open(t, path)
	put(t, f, "after", "", `{"ok":true}`)
	now, err := os.ReadFile(path)
	if err != nil || !bytes.HasPrefix(now, torn) {
		t.Fatalf("the file was not only appended to (%v)", err)
	}
	check := func(f *File, when string) {
		t.Helper()
		if got := f.Doc("a"); got == nil || got.Winner().Rev() != rev || len(got.Winner().Path) != 21 {
			t.Errorf("%s: a is %+v", when, got)
		}
		if b := body(t, f, "after"); b != `{"ok":true}` {
			t.Errorf("%s: after is %q", when, b)
		}
		d := f.Doc("att")
		if b, err := f.Attachment(d, d.Winner().Atts[0]); err != nil || string(b) != "hello" {
			t.Errorf("%s: attachment %q %v", when, b, err)
		}
		if _, l, ok := f.Local("_local/x"); !ok || string(l) != `{"l":1}` || string(f.Prop("security")) != `{"a":1}` {
			t.Errorf("%s: local %s prop %s", when, l, f.Prop("security"))
		}
		if in := f.Info(); in.Live != 3 || in.Seq != 23 {
			t.Errorf("%s: %+v", when, in)
		}
	}
	check(f, "open")
	uuid := f.UUID()
	check(open(t, path), "reopened")
	r := f.Update([]Edit{{ID: "att", Rev: att.Rev, Body: []byte(`{"v":2}`), Atts: []AttIn{{Name: "f", Stub: true}}}})[0]
	if r.Err != nil {
		t.Fatal(r.Err)
	}
	f.Update([]Edit{{ID: "att2", Body: []byte(`{}`)}, {ID: "att2", Rev: "x", Body: []byte(`{}`)}})
	d := f.Doc("att2")
	f.Update([]Edit{{ID: "att2", Rev: d.Winner().Rev(), Deleted: true, Body: []byte(`{}`)}})
	size := f.Info().File
	if err := f.Compact(); err != nil {
		t.Fatal(err)
	}
	if got := f.Info().File; got >= size {
		t.Errorf("compaction left %d of %d bytes", got, size)
	}
	for _, g := range []*File{f, open(t, path)} {
		if g.UUID() != uuid || g.Seq() != 26 || body(t, g, "att") != `{"v":2}` {
			t.Errorf("after compaction: uuid %s seq %d %s", g.UUID(), g.Seq(), body(t, g, "att"))
		}
	}
	// Between the two renames only X.compact exists.
	if err := os.Rename(path, path+".compact"); err != nil {
		t.Fatal(err)
	}
	if b := body(t, open(t, path), "att"); b != `{"v":2}` {
		t.Errorf("X.compact was not taken up: %q", b)
	}
}

func TestReplicatedConflict(t *testing.T) {
	f := open(t, filepath.Join(t.TempDir(), "x.couch"))
	a := Edit{ID: "a", Pos: 2, Path: []string{"aa", "r1"}, Body: []byte(`{"v":"a"}`)}
	b := Edit{ID: "a", Pos: 2, Path: []string{"bb", "r1"}, Body: []byte(`{"v":"b"}`)}
	for range 2 { // the second round changes nothing
		for _, e := range []Edit{a, b} {
			if err := f.Update([]Edit{e})[0].Err; err != nil {
				t.Fatal(err)
			}
		}
	}
	d := f.Doc("a")
	if len(d.Leaves) != 2 || d.Winner().Rev() != "2-bb" || f.Seq() != 2 {
		t.Fatalf("leaves %d winner %s seq %d", len(d.Leaves), d.Winner().Rev(), f.Seq())
	}
	if r := f.Update([]Edit{{ID: "a", Rev: "2-bb", Deleted: true, Body: []byte(`{}`)}})[0]; r.Err != nil {
		t.Fatal(r.Err)
	}
	if w := f.Doc("a").Winner(); w.Rev() != "2-aa" {
		t.Errorf("winner after deleting the other: %s", w.Rev())
	}
}

func TestConcurrentWritersAndCompaction(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.couch")
	f := open(t, path)
	var wg sync.WaitGroup
	for w := range 8 {
		wg.Go(func() {
			for i := range 25 {
				put(t, f, fmt.Sprintf("%d-%d", w, i), "", `{}`)
			}
		})
	}
	wg.Go(func() {
		for range 5 {
			if err := f.Compact(); err != nil {
				t.Error(err)
			}
		}
	})
	wg.Wait()
	for _, g := range []*File{f, open(t, path)} {
		if docs, _ := g.Since(0, 1000, false); len(docs) != 200 || len(g.IDs()) != 200 {
			t.Errorf("%d changes, %d ids, want 200", len(docs), len(g.IDs()))
		}
	}
}
