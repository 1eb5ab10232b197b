package mounts

import (
	"slices"
	"testing"
)

func TestParse(t *testing.T) {
	const table = `22 28 0:21 / /proc rw,relatime shared:14 - proc proc rw
36 35 7:1 / /srv/a\040b\134c rw,noatime master:1 shared:2 - ext4 /dev/loop1 rw,errors=continue
cut short
40 36 7:1 /sub /mnt rw - xfs /dev/loop2 rw`
	want := []Mount{{"/proc", "proc", "proc"}, {`/srv/a b\c`, "ext4", "/dev/loop1"}, {"/mnt", "xfs", "/dev/loop2"}}
	if got := parse(table); !slices.Equal(got, want) {
		t.Errorf("%+v, want %+v", got, want)
	}
}

func TestWithin(t *testing.T) {
	for path, want := range map[string]bool{"/a/b": true, "/a/b/c": true, "/a/bc": false, "/a": false, "/": false} {
		if got := Within("/a/b/", path); got != want {
			t.Errorf("%s within /a/b: %t", path, got)
		}
	}
}
