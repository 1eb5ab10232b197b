//go:build linux

package node

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// 600 databases on one node of three: what a CHT of some size has. The times are printed,
// not asserted; what is asserted is that all is found.
func TestManyFiles(t *testing.T) {
	v := newVolume(t, docker)
	const databases = 600
	ranges := []string{"00000000-15555554", "55555555-6aaaaaa9", "aaaaaaaa-bfffffff", "d5555555-eaaaaaa9"}
	for _, r := range ranges {
		must(t, os.MkdirAll(v.path("data/shards/"+r), 0o755))
		for i := range databases {
			v.write(fmt.Sprintf("data/shards/%s/medic-user-u%d-meta.1700000000.couch", r, i), "x")
			if i < databases/2 {
				v.write(fmt.Sprintf("data/.shards/%s/medic-user-u%d-meta.1700000000_design/mrview/3e8.view", r, i), "y")
			}
		}
	}
	n := v.open()
	for range 3 {
		s, err := n.Prepare(t.Context())
		must(t, err)
		t.Logf("prepared %d files in %d directories in %v", s.Files, s.Directories, s.Took)
	}
	m, _ := measure(t, n)
	t.Logf("measured, all directories new: %v", m.Took)
	// Older than two seconds, as most are.
	for _, p := range n.walk.places {
		_ = p.top.each(func(d *folder) error {
			d.read = d.read.Add(2 * settles)
			return nil
		})
	}
	v.append(fmt.Sprintf("data/shards/%s/medic-user-u%d-meta.1700000000.couch", ranges[0], 7), "more")
	v.write(fmt.Sprintf("data/shards/%s/new.1.couch", ranges[0]), "new")
	m, _ = measure(t, n)
	t.Logf("measured, one directory changed: %v, %.1f µs a file", m.Took, float64(m.Took.Microseconds())/float64(m.Files))
	if want := len(ranges)*databases*3/2 + 2; m.Files != want {
		t.Errorf("%d files, want %d", m.Files, want)
	}
}

func TestMoreFilesThanDescriptors(t *testing.T) {
	var was unix.Rlimit
	must(t, unix.Getrlimit(unix.RLIMIT_NOFILE, &was))
	v := newVolume(t, medic, dbs, nodes)
	n := v.open()
	n.walk.most, n.limit = 2, 2+reserve
	_, err := n.Prepare(t.Context())
	if !errors.Is(err, ErrTooManyFiles) || !strings.Contains(err.Error(), "has 3 here") || !strings.Contains(err.Error(), "from 258 to 259 or more") {
		t.Errorf("err: %v", err)
	}
	// With room for all it goes on with what it has.
	n.walk.most, n.limit = 3, 3+reserve
	s, err := n.Prepare(t.Context())
	if err != nil || s.Files != 3 {
		t.Errorf("%+v, %v", s, err)
	}
	_, src := measure(t, n)
	want(t, copied(t, src), nodes, "content of "+nodes)
	var now unix.Rlimit
	must(t, unix.Getrlimit(unix.RLIMIT_NOFILE, &now))
	if now.Cur != was.Max {
		t.Errorf("the limit is %d of %d", now.Cur, was.Max)
	}
}

func openFiles(t *testing.T) int {
	t.Helper()
	all, err := os.ReadDir("/proc/self/fd")
	must(t, err)
	return len(all)
}

// All that was opened is let go: replaced files, abandoned cuts, refused walks.
func TestDescriptorsAreLetGo(t *testing.T) {
	v := newVolume(t, medic, medicView, dbs, nodes, docker)
	before := openFiles(t)
	n, err := Open(v.layout())
	must(t, err)
	for i := range 20 {
		_, err := n.Prepare(t.Context())
		must(t, err)
		v.write("data/x", "compacted")
		v.rename("data/x", medic)
		if i%5 == 4 {
			must(t, os.Symlink("x", v.path("data/y.couch")))
			if _, err := n.Measure(t.Context()); err == nil {
				t.Error("measured with a link")
			}
			must(t, os.Remove(v.path("data/y.couch")))
		}
		_, s := measure(t, n)
		want(t, copied(t, s), medic, "compacted")
	}
	if held := openFiles(t) - before; held > 12 {
		t.Errorf("%d are held for 4 files", held)
	}
	must(t, n.Close())
	if left := openFiles(t); left > before {
		t.Errorf("%d are open, %d were", left, before)
	}
}
