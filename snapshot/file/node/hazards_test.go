//go:build linux

package node

import (
	"errors"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/medic/cht-backup/snapshot/file/transfer"
)

const (
	medic     = "data/shards/00000000-7fffffff/medic.1700000000.couch"
	medicView = "data/.shards/00000000-7fffffff/medic.1700000000_design/mrview/0a1b2c.view"
	dbs       = "data/_dbs.couch"
	nodes     = "data/_nodes.couch"
	docker    = "local.d/docker.ini"
)

// treePath of a file of the test's volume.
func treePath(p string) string { return strings.Replace(p, "local.d/", "config/", 1) }

// A view must never be newer than its shard: it would have rows of documents that the
// copy has not, and keep them.
func TestViewsAreMeasuredBeforeShards(t *testing.T) {
	v := newVolume(t, medic, medicView, dbs, nodes, docker)
	n := v.prepared()
	n.between = func(k kind) {
		// CouchDB, not held, writes a document and then indexes it.
		if k == shard {
			v.append(medic, " and one more")
			v.append(medicView, " and its row")
		}
	}
	_, s := measure(t, n)
	got := copied(t, s)
	want(t, got, medic, "content of "+medic+" and one more")
	want(t, got, medicView, "content of "+medicView)
}

// A view that appears after views were measured is newer than its shard may be.
func TestViewFoundLateIsLeftOut(t *testing.T) {
	v := newVolume(t, medic, dbs)
	n := v.prepared()
	late := "data/.other_design/mrview/ff.view"
	n.between = func(k kind) {
		if k == shard {
			v.write(late, "rows")
			v.write("data/shards/00000000-7fffffff/odd.view", "rows")
		}
	}
	m, s := measure(t, n)
	got := copied(t, s)
	wantNot(t, got, late)
	wantNot(t, got, "data/shards/00000000-7fffffff/odd.view")
	if m.Left.Count == 0 {
		t.Error("what was left out is not named")
	}
}

// Shard maps are measured after what they name.
func TestMembersAreMeasuredAfterShards(t *testing.T) {
	v := newVolume(t, medic, dbs, nodes)
	n := v.prepared()
	n.between = func(k kind) {
		if k == members {
			v.append(dbs, "+")
			v.append(nodes, "+")
			v.append(medic, "+")
		}
	}
	_, s := measure(t, n)
	got := copied(t, s)
	want(t, got, dbs, "content of "+dbs+"+")
	want(t, got, nodes, "content of "+nodes+"+")
	want(t, got, medic, "content of "+medic)
}

// Views, shards, what names them, and last the configuration, which is read whole.
func TestOrderOfTheCut(t *testing.T) {
	n := newVolume(t, medic, medicView, dbs, docker).prepared()
	var order []kind
	n.between = func(k kind) { order = append(order, k) }
	measure(t, n)
	if !slices.Equal(order, []kind{view, shard, members, config}) {
		t.Errorf("measured in the order %v", order)
	}
}

// local.d is rewritten in place: read after the cut it could be half of two.
func TestConfigIsReadAtTheCut(t *testing.T) {
	v := newVolume(t, medic, docker)
	n := v.prepared()
	v.write(docker, "[admins]\nmedic = hash at the cut\n")
	v.write("local.d/new.ini", "made since")
	v.write("local.d/readme.txt", "no configuration")
	m, s := measure(t, n)
	v.write(docker, "[admins]\nmedic = another\n")
	must(t, os.Remove(v.path("local.d/new.ini")))
	got := copied(t, s)
	want(t, got, "config/docker.ini", "[admins]\nmedic = hash at the cut\n")
	want(t, got, "config/new.ini", "made since")
	wantNot(t, got, "config/readme.txt")
	if m.Left.Count != 1 || m.Left.Names[0] != "config/readme.txt" {
		t.Errorf("left: %+v", m.Left)
	}
}

// Between the two renames of a compaction X.couch.compact is the only copy of a shard.
func TestCompactIsTheOnlyCopyBetweenTwoRenames(t *testing.T) {
	v := newVolume(t, medic, dbs, medic+".compact.data", medic+".compact.meta")
	n := v.prepared()
	must(t, os.Remove(v.path(medic+".compact.meta")))
	v.rename(medic+".compact.data", medic+".compact")
	v.rename(medic, "data/.delete/0123.couch")
	_, s := measure(t, n)
	v.rename(medic+".compact", medic)
	got := copied(t, s)
	want(t, got, medic+".compact", "content of "+medic+".compact.data")
	wantNot(t, got, medic)
}

func TestWhatIsNotCopied(t *testing.T) {
	v := newVolume(t, medic, medicView, dbs,
		medic+".compact.data", medic+".compact.meta",
		"data/.shards/00000000-7fffffff/medic.1700000000_design/mrview/0a1b2c.compact.view",
		"data/.delete/9f.couch", "data/lost+found/x.couch",
		"data/shards/00000000-7fffffff/medic.1700000000/0a0b/segments_3",
		"data/shards/00000000-7fffffff/medic.1700000000/0a0b/_0.cfs",
		"data/search/write.lock", "data/search/_1.si",
		"data/notes.txt", "data/shards/x/core.123")
	m, s := measure(t, v.prepared())
	got := copied(t, s)
	if len(got) != 3 {
		t.Errorf("copied: %v", keys(got))
	}
	if slices.Sort(m.Left.Names); m.Left.Count != 2 || strings.Join(m.Left.Names, " ") != "data/notes.txt data/shards/x/core.123" {
		t.Errorf("left: %+v, want what nobody knows of and nothing else", m.Left)
	}
}

func TestWhatIsAlwaysCopied(t *testing.T) {
	all := []string{
		medic, medicView, dbs, nodes, docker, "data/_users.couch",
		"data/shards/00000000-7fffffff/a/b/c.1700000000.couch", // the database a/b/c
		medic + ".compact", "data/_dbs.couch.compact",
		"data/shards/00000000-7fffffff/medic.1700000000.20260101.120000.deleted.couch",
	}
	m, s := measure(t, newVolume(t, all...).prepared())
	got := copied(t, s)
	for _, f := range all {
		want(t, got, treePath(f), "content of "+f)
	}
	if m.Files != len(all) || len(got) != len(all) {
		t.Errorf("%d files measured, %d copied, %d are there", m.Files, len(got), len(all))
	}
}

// What CouchDB does between the walk and the cut: all of it must be seen at the cut.
func TestWhatChangesBetweenWalkAndCut(t *testing.T) {
	v := newVolume(t, medic, medicView, dbs, "data/shards/00000000-7fffffff/gone.1.couch", "data/.gone_design/mrview/1.view")
	n := v.prepared()
	v.append(medic, " grown")
	must(t, os.Remove(v.path("data/shards/00000000-7fffffff/gone.1.couch")))
	must(t, os.RemoveAll(v.path("data/.gone_design")))
	v.write("data/shards/80000000-ffffffff/new.2.couch", "a new range")
	v.write("data/.new_design/mrview/2.view", "a new view")
	// The same name is another file now: compacted.
	v.write("data/x", "compacted")
	v.rename("data/x", dbs)
	_, s := measure(t, n)
	// And after it nothing is seen any more.
	v.append(medic, " too late")
	must(t, os.Remove(v.path(dbs)))
	v.write("data/late.couch", "too late")
	got := copied(t, s)
	want(t, got, medic, "content of "+medic+" grown")
	want(t, got, medicView, "content of "+medicView)
	want(t, got, dbs, "compacted")
	want(t, got, "data/shards/80000000-ffffffff/new.2.couch", "a new range")
	want(t, got, "data/.new_design/mrview/2.view", "a new view")
	if len(got) != 5 {
		t.Errorf("copied: %v", keys(got))
	}
}

// A directory whose times do not tell of a change that soon is read again.
func TestChangeRightAfterTheWalk(t *testing.T) {
	v := newVolume(t, medic)
	n := v.prepared()
	d := n.walk.places[0].top.folders["shards"].folders["00000000-7fffffff"]
	info, err := os.Stat(v.path("data/shards/00000000-7fffffff"))
	must(t, err)
	v.write("data/shards/00000000-7fffffff/new.1.couch", "new")
	// As if the clock of the file system had not moved since.
	must(t, os.Chtimes(v.path("data/shards/00000000-7fffffff"), info.ModTime(), info.ModTime()))
	s, err := os.Stat(v.path("data/shards/00000000-7fffffff"))
	must(t, err)
	d.changed = stampOf(sys(s))
	_, src := measure(t, n)
	want(t, copied(t, src), "data/shards/00000000-7fffffff/new.1.couch", "new")
}

// Nothing that a volume's owner puts there leads out of it.
func TestLinksAreRefused(t *testing.T) {
	for name, make := range map[string]func(v volume){
		"a shard":     func(v volume) { must(t, os.Symlink("/etc/passwd", v.path("data/x.couch"))) },
		"a folder":    func(v volume) { must(t, os.Symlink("/etc", v.path("data/shards/etc"))) },
		"ini":         func(v volume) { must(t, os.Symlink("/etc/passwd", v.path("local.d/x.ini"))) },
		"the data":    func(v volume) { v.rename("data", "elsewhere"); must(t, os.Symlink("elsewhere", v.path("data"))) },
		"the local.d": func(v volume) { v.rename("local.d", "l"); must(t, os.Symlink("l", v.path("local.d"))) },
	} {
		t.Run(name, func(t *testing.T) {
			v := newVolume(t, medic, docker)
			make(v)
			n, err := Open(v.layout())
			if err == nil {
				defer func() { _ = n.Close() }()
				_, err = n.Prepare(t.Context())
			}
			if err == nil || !strings.Contains(err.Error(), "symbolic link") && !strings.Contains(err.Error(), "not a directory") {
				t.Errorf("err: %v", err)
			}
		})
	}
}

// A file that becomes a link or a folder between walk and cut is no file.
func TestReplacedBetweenListingAndOpening(t *testing.T) {
	v := newVolume(t, medic, dbs)
	n := v.prepared()
	must(t, os.Remove(v.path(dbs)))
	must(t, os.Symlink("/etc/passwd", v.path(dbs)))
	if _, err := n.Measure(t.Context()); err == nil || !strings.Contains(err.Error(), "data/_dbs.couch: it is a symbolic link") {
		t.Errorf("err: %v", err)
	}
}

func TestLayoutStaysBelowTheVolume(t *testing.T) {
	v := newVolume(t, medic)
	for _, l := range []Layout{{Volume: v.dir, Data: "../x"}, {Volume: v.dir, Data: "data/../.."}, {Volume: v.dir, Data: "data", HasConfig: true, Config: "../l"}, {}} {
		if n, err := Open(l); err == nil {
			_ = n.Close()
			t.Errorf("%+v is taken", l)
		}
	}
	for _, l := range []Layout{{Volume: v.dir, Data: "data/"}, {Volume: v.dir, Data: "."}, {Volume: v.dir}, {Data: v.path("data")}} {
		n, err := Open(l)
		must(t, err)
		if s, err := n.Prepare(t.Context()); err != nil || s.Files != 1 {
			t.Errorf("%+v: %+v, %v", l, s, err)
		}
		must(t, n.Close())
	}
}

// The local.d of a volume whose root is the data directory is not data.
func TestConfigBelowData(t *testing.T) {
	v := newVolume(t, "_dbs.couch", docker, "local.d/x.couch")
	n, err := Open(Layout{Volume: v.dir, Config: "local.d", HasConfig: true})
	must(t, err)
	defer func() { _ = n.Close() }()
	_, err = n.Prepare(t.Context())
	must(t, err)
	_, s := measure(t, n)
	got := copied(t, s)
	if len(got) != 2 || got["config/docker.ini"] == "" || got["data/_dbs.couch"] == "" {
		t.Errorf("copied: %v", keys(got))
	}
}

func TestShortFiles(t *testing.T) {
	v := newVolume(t, medic, medicView)
	_, s := measure(t, v.prepared())
	must(t, os.Truncate(v.path(medic), 3))
	must(t, os.Truncate(v.path(medicView), 3))
	metas, err := s.Files(t.Context())
	must(t, err)
	for i, m := range metas {
		if _, err := readFile(t, s, i); !errors.Is(err, transfer.ErrShort) {
			t.Errorf("%s: %v", m.Path, err)
		}
	}
}

// An index that is reset is cut short in place and grows again: its length tells nothing.
func TestViewMadeAnewIsShort(t *testing.T) {
	for _, between := range []bool{false, true} {
		v := newVolume(t, medic, medicView)
		n := v.prepared()
		if between {
			v.append(medicView, "grown since the walk")
		}
		_, s := measure(t, n)
		v.write(medicView, strings.Repeat("another index, ", 100))
		if got := copied(t, s)[medicView]; !strings.HasPrefix(got, "! ") || !strings.Contains(got, transfer.ErrShort.Error()) {
			t.Errorf("copied %.80q", got)
		}
	}
}

func keys(m map[string]string) []string {
	var all []string
	for k := range m {
		all = append(all, k)
	}
	return all
}
