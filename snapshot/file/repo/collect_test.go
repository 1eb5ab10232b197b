package repo

import (
	"reflect"
	"strings"
	"testing"
	"time"
)

// While one collection stands still before it deletes, another does all of its work, and
// a session begins after that and writes what it finds. The first goes on: what it
// deletes, nobody needs. A list that had gone while a pack of it was there would have let
// the session use that pack.
func TestTwoCollections(t *testing.T) {
	m := newMemory()
	o := Options{}
	r := create(t, m, o)
	first := backup(t, r, "uid-1", some(1))
	if err := r.DeleteTree(t.Context(), first); err != nil {
		t.Fatal(err)
	}
	locked, stands := false, false
	m.locked = func(key string) bool { return locked && strings.Contains(key, packsIn) }
	name := ""
	m.fault = func(op, key string) error {
		if op != "delete" || !strings.Contains(key, "/"+packsIn) || stands {
			return nil
		}
		stands = true
		locked = true // for a moment, as a lock's last
		if did, err := r.Collect(t.Context()); err != nil || did.Kept == 0 {
			t.Errorf("the other: %+v, %v", did, err)
		}
		locked = false
		name = backup(t, r, "uid-2", some(1))
		return nil
	}
	if _, err := r.Collect(t.Context()); err != nil || name == "" {
		t.Fatalf("%q, %v", name, err)
	}
	if got, err := read(t.Context(), r, name); err != nil || !reflect.DeepEqual(got, some(1)) {
		t.Errorf("%v", err)
	}
}

// What a session sends while others collect stays usable: it is not doomed, and the next
// backup does not send it again.
func TestWhatIsBeingWrittenIsNotDoomed(t *testing.T) {
	m := newMemory()
	r := create(t, m, small)
	s, err := r.Begin(t.Context(), "uid-1", []string{"couchdb-1"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, pieces := range some(2) {
		for _, plain := range pieces {
			if _, err := s.Put(t.Context(), frame(s.HashKey(), plain)); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := s.flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	if did, err := r.Collect(t.Context()); err != nil || did != (Collected{Writers: 1}) {
		t.Errorf("%+v, %v", did, err)
	}
	name, err := put(t.Context(), s, "couchdb-1", some(2))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	puts := m.puts
	backup(t, r, "uid-2", some(2), name)
	if more := m.puts - puts; more != 2 { // an intent and a tree
		t.Errorf("%d objects were written for what is there", more)
	}
}

// What an interrupted session has sent is left for the next, for a while: a first backup
// that takes longer than its night comes to an end in the end.
func TestSpared(t *testing.T) {
	m := newMemory()
	now := time.Now()
	m.now = func() time.Time { return now }
	o := small
	o.Now, o.Spare = m.now, 7*24*time.Hour
	r := create(t, m, o)
	s, err := r.Begin(t.Context(), "uid-1", []string{"couchdb-1"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	sent := content(1, 900)
	if _, err := s.Put(t.Context(), frame(s.HashKey(), sent)); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(t.Context()); err != nil { // its time was over
		t.Fatal(err)
	}
	for _, tt := range []struct {
		after time.Duration
		there bool
	}{{6 * 24 * time.Hour, true}, {2 * 24 * time.Hour, false}} {
		now = now.Add(tt.after)
		if _, err := r.Collect(t.Context()); err != nil {
			t.Fatal(err)
		}
		if there := len(m.keys(r.at(packsIn, ""))) > 0; there != tt.there {
			t.Errorf("after another %s it is there: %v", tt.after, there)
		}
	}
}

// A pack that is doomed and was named again meanwhile is not used by the next session,
// even as its base names it: the base may go before the session has its own tree.
func TestDoomedOfABase(t *testing.T) {
	m := newMemory()
	r := create(t, m, small)
	first := backup(t, r, "uid-1", some(1))
	if err := r.DeleteTree(t.Context(), first); err != nil {
		t.Fatal(err)
	}
	begin := func(owner string, bases ...string) *Session {
		s, err := r.Begin(t.Context(), owner, []string{"couchdb-1"}, bases)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	commit := func(s *Session) string {
		name, err := put(t.Context(), s, "couchdb-1", some(1))
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		return name
	}
	quick := begin("uid-2")
	if did, err := r.Collect(t.Context()); err != nil || did.Waiting == 0 || did.Deleted > 0 {
		t.Fatalf("%+v, %v", did, err)
	}
	packs := len(m.keys(r.at(packsIn, "")))
	second := commit(quick)
	if len(m.keys(r.at(packsIn, ""))) != packs {
		t.Fatal("it did not use what is doomed: this test shows nothing")
	}
	slow := begin("uid-3", second)
	if err := r.DeleteTree(t.Context(), second); err != nil {
		t.Fatal(err)
	}
	if did, err := r.Collect(t.Context()); err != nil || did.Deleted == 0 {
		t.Fatalf("%+v, %v", did, err)
	}
	if got, err := read(t.Context(), r, commit(slow)); err != nil || !reflect.DeepEqual(got, some(1)) {
		t.Errorf("%v", err)
	}
}

// Whenever in its beginning a session is overtaken by a collection that deletes, it does
// not use what has gone.
func TestOvertaken(t *testing.T) {
	for at := 0; ; at++ {
		m := newMemory()
		r := create(t, m, small)
		first := backup(t, r, "uid-1", some(1))
		waited, err := r.Begin(t.Context(), "uid-2", nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := r.DeleteTree(t.Context(), first); err != nil {
			t.Fatal(err)
		}
		if did, err := r.Collect(t.Context()); err != nil || did.Waiting == 0 {
			t.Fatalf("%+v, %v", did, err)
		}
		calls := 0
		m.fault = func(string, string) error {
			if calls++; calls == at+1 {
				if err := waited.Close(t.Context()); err != nil {
					t.Error(err)
				}
				if did, err := r.Collect(t.Context()); err != nil || did.Deleted == 0 || len(m.keys(r.at(doomedIn, ""))) > 0 {
					t.Errorf("%+v, %v", did, err)
				}
			}
			return nil
		}
		r.options.Parallel = 1
		s, err := r.Begin(t.Context(), "uid-3", []string{"couchdb-1"}, nil)
		if err != nil {
			t.Fatal(err)
		}
		over := calls <= at
		m.fault = nil
		name, err := put(t.Context(), s, "couchdb-1", some(1))
		if err != nil {
			t.Fatal(err)
		}
		if got, err := read(t.Context(), r, name); err != nil || !reflect.DeepEqual(got, some(1)) {
			t.Errorf("before call %d: %v", at, err)
		}
		for _, s := range []*Session{s, waited} {
			if err := s.Close(t.Context()); err != nil {
				t.Error(err)
			}
		}
		if over {
			if at < 4 {
				t.Errorf("only %d calls", at)
			}
			return
		}
	}
}
