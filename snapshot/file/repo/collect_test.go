package repo

import (
	"reflect"
	"strings"
	"testing"
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
