package tags

import (
	"strings"
	"testing"
	"unicode/utf8"
)

// FuzzReassemble feeds tags that somebody else wrote: lines of "snapshot key value", to
// a good set of three. What comes out as whole must be what a restore can rely on.
func FuzzReassemble(f *testing.F) {
	for _, seed := range []string{
		"", "0 complete false", "1 node couchdb-1", "2 set-size 4", "0 data-subpath ../..", "0 cut-time 2026-07-01T02:00:00Z", "1 attempt 2\n2 attempt 2",
		"0 copy frankfurt", "2 state pending", "0 backup-uid x\n1 backup-uid x\n2 backup-uid x", "1 claim couchdb-1-claim0", "0 node-name x@\x00", "1 delete node",
		"0 set-size 1\n1 delete backup-uid\n2 delete backup-uid\n0 node couchdb", "0 account 1\n1 account 1\n2 account 1",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		all := set(3)
		for n, line := range strings.Split(text, "\n") {
			words := strings.SplitN(line, " ", 3)
			if n > 200 || len(words) < 3 || words[0] == "" {
				continue
			}
			i := int(words[0][0]) % len(all)
			switch words[1] {
			case "state":
				all[i].State = words[2]
			case "account":
				all[i].Account = words[2]
			case "id":
				all[i].ID = words[2]
			case "delete":
				delete(all[i].Tags, Prefix+words[2])
			default:
				all[i].Tags[Prefix+words[1]] = words[2]
			}
		}
		sets, strays := Reassemble(all)
		if len(sets)+len(strays) > 2*len(all) {
			t.Fatalf("%d sets and %d strays of %d snapshots", len(sets), len(strays), len(all))
		}
		for _, s := range sets {
			if !s.Whole() {
				for _, why := range s.Broken {
					if len(why) > 2000 || !utf8.ValidString(why) {
						t.Fatalf("a reason of %d bytes: %q", len(why), why)
					}
				}
				continue
			}
			if len(s.Members) != s.Size || s.Size < 1 || s.UID == "" || s.Namespace == "" || s.CutTime.IsZero() {
				t.Fatalf("whole, and %+v", s)
			}
			nodes := map[string]bool{}
			for _, m := range s.Members {
				nodes[m.Node] = true
				if m.Snapshot.State != "completed" || m.Snapshot.Tags[Complete] != "true" || m.Snapshot.Account != s.Account || m.Snapshot.Tags[BackupUID] != s.UID ||
					strings.Contains(m.DataSubPath, "..") && !subPath(m.DataSubPath) || strings.HasPrefix(m.DataSubPath, "/") || strings.ContainsRune(m.NodeName, 0) {
					t.Fatalf("whole, and has %+v", m)
				}
			}
			if len(nodes) != s.Size {
				t.Fatalf("whole, and has nodes %v", nodes)
			}
		}
	})
}
