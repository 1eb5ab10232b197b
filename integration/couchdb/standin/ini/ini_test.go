package ini

import (
	"os"
	"path/filepath"
	"testing"
)

func TestPersistedValueWinsOnReload(t *testing.T) {
	dir := t.TempDir()
	a, b := filepath.Join(dir, "a.ini"), filepath.Join(dir, "b.ini")
	must(t, os.WriteFile(a, []byte("[couchdb]\nuuid = one ; comment\n[admins]\nmedic = s;cret\n"), 0o644))
	must(t, os.WriteFile(b, []byte("; kept\n[chttpd]\nport=5984\n"), 0o644))
	c, err := Load(Values{"couchdb": {"uuid": "zero", "q": "12"}}, []string{a, b})
	must(t, err)
	for _, want := range [][3]string{{"couchdb", "uuid", "one"}, {"couchdb", "q", "12"}, {"admins", "medic", "s;cret"}} {
		if got, _ := c.Get(want[0], want[1]); got != want[2] {
			t.Errorf("%s/%s = %q, want %q", want[0], want[1], got, want[2])
		}
	}
	on, two := "true", "two"
	if _, existed, err := c.Set("couchdb", "maintenance_mode", &on, true); err != nil || existed {
		t.Fatalf("set: existed %v, %v", existed, err)
	}
	if old, existed, err := c.Set("couchdb", "uuid", &two, false); err != nil || !existed || old != "one" {
		t.Fatalf("set uuid: old %q existed %v %v", old, existed, err)
	}
	c, err = Load(nil, []string{a, b})
	must(t, err)
	if v, _ := c.Get("couchdb", "maintenance_mode"); v != "true" {
		t.Errorf("persisted value lost: %q", v)
	}
	if v, _ := c.Get("couchdb", "uuid"); v != "one" {
		t.Errorf("unpersisted value on disk: %q", v)
	}
	if _, _, err := c.Set("couchdb", "maintenance_mode", nil, true); err != nil {
		t.Fatal(err)
	}
	raw, err := os.ReadFile(b)
	must(t, err)
	if got, want := string(raw), "; kept\n[chttpd]\nport=5984\n\n[couchdb]\n"; got != want {
		t.Errorf("file is %q, want %q", got, want)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
