package prepare

import (
	"os"
	"syscall"
)

// chownLike gives f the owner of old: CouchDB must be able to write its ini.
func chownLike(f *os.File, old os.FileInfo) error {
	stat, ok := old.Sys().(*syscall.Stat_t)
	if !ok {
		return nil
	}
	return f.Chown(int(stat.Uid), int(stat.Gid))
}
