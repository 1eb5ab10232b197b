package freezer

import (
	"reflect"
	"strings"
	"testing"
)

// podMounts is what a freezer pod sees: the container's root, the kubelet's
// files and emptyDir on the node's disk (259:1), and then the volume.
const podMounts = `1200 1100 0:250 / / rw,relatime master:300 - overlay overlay rw,lowerdir=/a:/b
1201 1200 0:255 / /proc rw,nosuid - proc proc rw
1202 1200 259:1 /var/lib/kubelet/pods/u/etc-hosts /etc/hosts rw,relatime - ext4 /dev/root rw
1203 1200 259:1 /var/lib/kubelet/pods/u/volumes/kubernetes.io~empty-dir/scratch /scratch rw,relatime - ext4 /dev/root rw
`

func TestUnshared(t *testing.T) {
	tests := []struct {
		name   string
		volume string // mountinfo line(s) of the volume
		at     string
		mine   []string
		want   string // in the refusal; "" for freezable
	}{
		{"ext4 of its own", `1204 1200 8:16 / /volume ro,relatime - ext4 /dev/sdb rw`, "/volume", nil, ""},
		{"xfs, several optional fields", `1204 1200 8:16 / /volume ro shared:1 master:2 - xfs /dev/sdb rw`, "/volume", nil, ""},
		{"no optional field, path not clean", `1204 1200 8:16 / /volume ro - xfs /dev/sdb rw`, "/volume/", nil, ""},
		{"a directory of a file system (hostPath, local-path)", `1204 1200 8:16 /pvc-1 /volume ro - ext4 /dev/sdb rw`, "/volume", nil, "the directory /pvc-1"},
		{"the node's disk, by /etc/hosts", `1204 1200 259:1 / /volume ro - ext4 /dev/root rw`, "/volume", nil, "/etc/hosts"},
		{"mounted elsewhere too", "1204 1200 8:16 / /volume ro - ext4 /dev/sdb rw\n1205 1200 8:16 / /other rw - ext4 /dev/sdb rw", "/volume", nil, "/other"},
		{"a directory of it elsewhere", "1204 1200 8:16 / /volume ro - ext4 /dev/sdb rw\n1205 1200 8:16 /x /other rw - ext4 /dev/sdb rw", "/volume", nil, "/other"},
		{"mounted elsewhere, but mine", "1204 1200 8:16 / /volume ro - ext4 /dev/sdb rw\n1205 1200 8:16 / /other rw - ext4 /dev/sdb rw", "/volume", []string{"/other"}, ""},
		{"nfs", `1204 1200 0:60 / /volume rw - nfs4 srv:/export rw`, "/volume", nil, "nfs4"},
		{"btrfs", `1204 1200 0:60 / /volume rw - btrfs /dev/sdb rw`, "/volume", nil, "btrfs"},
		{"not mounted", "", "/volume", nil, "not a mount point"},
		{"a directory below a mount point", `1204 1200 8:16 / /volume ro - ext4 /dev/sdb rw`, "/volume/data", nil, "not a mount point"},
		{"two at one point, the later is shared", "1204 1200 8:16 / /volume ro - ext4 /dev/sdb rw\n1205 1204 259:1 /d /volume rw - ext4 /dev/root rw", "/volume", nil, "the directory /d"},
		{"two at one point, the later is its own", "1204 1200 0:99 / /volume ro - tmpfs tmpfs rw\n1205 1204 8:16 / /volume rw - ext4 /dev/sdb rw", "/volume", nil, ""},
		{"two at one point, one file system", "1204 1200 8:16 / /volume ro - ext4 /dev/sdb rw\n1205 1204 8:16 / /volume rw - ext4 /dev/sdb rw", "/volume", nil, ""},
		{"blanks and backslashes", `1204 1200 8:16 / /my\040volume\134x ro - ext4 /dev/sdb rw`, `/my volume\x`, nil, ""},
		{"prefix of another name", "1204 1200 8:16 / /volume2 ro - ext4 /dev/sdb rw", "/volume", nil, "not a mount point"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			mounts, err := Mounts(podMounts + tt.volume)
			if err != nil {
				t.Fatal(err)
			}
			err = Unshared(mounts, tt.at, tt.mine...)
			switch {
			case tt.want == "" && err != nil:
				t.Errorf("refused: %v", err)
			case tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)):
				t.Errorf("got %v, want a refusal with %q", err, tt.want)
			}
		})
	}
}

func TestMounts(t *testing.T) {
	for _, tt := range []struct {
		name, text string
		want       []Mount // nil for an error
	}{
		{"escapes", `36 35 98:0 /a\040b /mnt\011x\012y\134040 rw,noatime master:1 - ext3 /dev/root rw,errors=continue`,
			[]Mount{{Device: "98:0", Root: "/a b", Point: "/mnt\tx\ny\\040", Type: "ext3"}}},
		{"a dash in a name", `36 35 98:0 / /a-b rw - ext4 /dev/mapper/x-y rw`, []Mount{{Device: "98:0", Root: "/", Point: "/a-b", Type: "ext4"}}},
		{"no separator", `36 35 98:0 / /mnt rw`, nil},
		{"cut short", `36 35 98:0 / - ext4 /dev/x rw`, nil},
		{"no source", `36 35 98:0 / /mnt rw - ext4`, nil},
		{"empty line between", "36 35 98:0 / /mnt rw - ext4 /dev/x rw\n\n", nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := Mounts(tt.text)
			if (err != nil) != (tt.want == nil) || !reflect.DeepEqual(got, tt.want) && tt.want != nil {
				t.Errorf("got %+v, %v, want %+v", got, err, tt.want)
			}
		})
	}
	if mounts, err := Mounts(""); err != nil || len(mounts) != 0 {
		t.Errorf("nothing: %v, %v", mounts, err)
	}
}
