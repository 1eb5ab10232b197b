package boot

// Image is a recipe for a container image, for whoever can build one.
type Image struct {
	Binary     string            // where the static binary goes, mode 0755
	Links      map[string]string // further names: path to target
	Busybox    string            // where a static busybox goes; pausing CouchDB needs a shell
	Applets    []string          // links to it
	Dirs       []string
	Files      map[string]string // small text files
	Entrypoint []string
	Cmd        []string
	Env        []string
	Volumes    []string
	Ports      []int
}

// ImageSpec is the stand-in's image: paths and processes as in the CHT's. Build
// the binary from integration/couchdb/cmd/couchdb-standin with CGO_ENABLED=0;
// busybox is Debian's busybox-static (/bin/busybox). No user is set: process 1
// is root and starts the VM as uid 5984.
func ImageSpec() Image {
	im := Image{
		Binary: "/opt/couchdb/bin/couchdb",
		Links: map[string]string{
			"/usr/bin/tini":               "/opt/couchdb/bin/couchdb",
			"/docker-entrypoint.sh":       "/opt/couchdb/bin/couchdb",
			"/usr/bin/" + curl:            "/opt/couchdb/bin/couchdb",
			"/opt/couchdb/erts/bin/" + vm: "/opt/couchdb/bin/couchdb",
		},
		Busybox: "/bin/busybox",
		Dirs:    []string{"/opt/couchdb/data", "/opt/couchdb/etc/local.d", "/opt/couchdb/etc/default.d", "/tmp", "/proc", "/sys", "/dev"},
		Files: map[string]string{
			"/etc/passwd": "root:x:0:0:root:/root:/bin/sh\ncouchdb:x:5984:5984:CouchDB:/opt/couchdb:/bin/sh\n",
			"/etc/group":  "root:x:0:\ncouchdb:x:5984:\n",
		},
		Entrypoint: []string{"/usr/bin/tini", "--", "/docker-entrypoint.sh"},
		Cmd:        []string{"/opt/couchdb/bin/couchdb"},
		Env:        []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"},
		Volumes:    []string{"/opt/couchdb/data"},
		Ports:      []int{5984, 4369, 9100},
	}
	for _, name := range []string{"sh", "sleep", "kill", "cat", "ls", "grep", "awk", "sed", "find", "ps", "head", "tail", "wc", "stat", "df", "mount", "sync",
		"date", "echo", "env", "id", "tr", "cut", "sort", "uniq", "xargs", "pgrep", "pidof", "touch", "mkdir", "rm", "cp", "mv", "test", "true", "false", "timeout", "usleep", "wget", "nc", "netstat", "printf", "dd", "base64", "md5sum", "sha256sum"} {
		im.Applets = append(im.Applets, "/bin/"+name)
	}
	return im
}
