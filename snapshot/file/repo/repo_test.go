package repo

import (
	"reflect"
	"testing"
)

// What was written is read again; what is there already is not sent again.
func TestRoundTrip(t *testing.T) {
	m := newMemory()
	r := create(t, m, small)
	want := some(1)
	first := backup(t, r, "uid-1", want)
	got, err := read(t.Context(), r, first)
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Fatalf("%v, %v", got, err)
	}
	packs := len(m.keys(r.at(packsIn, "")))
	want["data/more.couch"] = [][]byte{content(7, 500)}
	second := backup(t, r, "uid-2", want, first)
	if got, err := read(t.Context(), r, second); err != nil || !reflect.DeepEqual(got, want) {
		t.Fatalf("%v, %v", got, err)
	}
	if more := len(m.keys(r.at(packsIn, ""))) - packs; more != 1 {
		t.Errorf("%d more packs for one new chunk", more)
	}
	report, err := r.Check(t.Context(), true, nil)
	if err != nil || len(report.Damaged) > 0 || report.Trees != 2 || report.Unused != 0 {
		t.Errorf("%+v, %v", report, err)
	}
	if left := m.keys(r.at(writersIn, "")); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}

// What no tree needs goes, and the rest is read all the same.
func TestCollect(t *testing.T) {
	m := newMemory()
	r := create(t, m, small)
	first, second := backup(t, r, "uid-1", some(1)), backup(t, r, "uid-2", some(2))
	if did, err := r.Collect(t.Context()); err != nil || did != (Collected{}) {
		t.Fatalf("%+v, %v", did, err)
	}
	if err := r.DeleteTree(t.Context(), first); err != nil {
		t.Fatal(err)
	}
	did, err := r.Collect(t.Context())
	if err != nil || did.Deleted == 0 {
		t.Fatalf("%+v, %v", did, err)
	}
	if got, err := read(t.Context(), r, second); err != nil || !reflect.DeepEqual(got, some(2)) {
		t.Errorf("%v", err)
	}
	if err := r.DeleteTree(t.Context(), second); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Collect(t.Context()); err != nil {
		t.Fatal(err)
	}
	if left := m.keys(filesUnder); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}
