package catalog

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/medic/cht-backup/snapshot/couchdb"
)

// maxDatabases is far above what a CouchDB of a CHT holds: a few for each user.
const maxDatabases = 200_000

var (
	databaseForm = regexp.MustCompile(`^[a-z_][a-z0-9_$()+/.-]{0,237}$`)
	rangeForm    = regexp.MustCompile(`^[0-9a-f]{1,8}-[0-9a-f]{1,8}$`)
	suffixForm   = regexp.MustCompile(`^(\.[0-9]{0,20})?$`)
)

func (s Survey) check(members map[string]bool) error {
	if len(s.ShardMaps) > maxDatabases || len(s.Counts) > maxDatabases || len(s.Sequences) > maxDatabases {
		return fmt.Errorf("it has more than %d databases", maxDatabases)
	}
	for name, m := range s.ShardMaps {
		if !isDatabase(name) {
			return fmt.Errorf("%q is no name of a database", clip(name))
		}
		if m.ID != name {
			return fmt.Errorf("the shard map of %s is that of %q", name, clip(m.ID))
		}
		if err := checkShardMap(m, members); err != nil {
			return fmt.Errorf("shard map of %s: %w", name, err)
		}
	}
	for name, c := range s.Counts {
		if !isDatabase(name) || c.Documents < 0 || c.Deleted < 0 {
			return fmt.Errorf("counts of %q: %d documents, %d deleted", clip(name), c.Documents, c.Deleted)
		}
	}
	for name, n := range s.Sequences {
		if !isDatabase(name) || n < 0 {
			return fmt.Errorf("sequence of %q: %d", clip(name), n)
		}
	}
	return nil
}

// isDatabase tells whether CouchDB can have a database of that name, which is a path
// on its nodes.
func isDatabase(name string) bool {
	return databaseForm.MatchString(name) && !strings.Contains(name, "..") && !strings.Contains(name, "//") && !strings.Contains(name, "/.")
}

func checkShardMap(m couchdb.ShardMap, members map[string]bool) error {
	suffix := make([]byte, len(m.Suffix))
	for i, b := range m.Suffix {
		if b < 0 || b > 255 {
			return fmt.Errorf("its suffix has the byte %d", b)
		}
		suffix[i] = byte(b)
	}
	if !suffixForm.Match(suffix) {
		return fmt.Errorf("its suffix %q is none", clip(string(suffix)))
	}
	if len(m.ByNode) > len(members) {
		return fmt.Errorf("it names %d nodes, the backup has %d", len(m.ByNode), len(members))
	}
	places := 0
	for node, ranges := range m.ByNode {
		if !members[node] {
			return fmt.Errorf("it names node %q, which the backup has no volume of", clip(node))
		}
		for _, r := range ranges {
			if !rangeForm.MatchString(r) {
				return fmt.Errorf("%q is no range", clip(r))
			}
			if !slices.Contains(m.ByRange[r], node) {
				return fmt.Errorf("range %s lies on %s by one half of the map and not by the other", r, node)
			}
		}
		places += len(ranges)
	}
	for r, nodes := range m.ByRange {
		if !rangeForm.MatchString(r) {
			return fmt.Errorf("%q is no range", clip(r))
		}
		places -= len(nodes)
	}
	if places != 0 {
		return fmt.Errorf("its halves by node and by range do not agree")
	}
	for _, entry := range m.Changelog {
		for _, word := range entry {
			if err := checkText("its changelog", word, 512); err != nil {
				return err
			}
		}
	}
	return nil
}
