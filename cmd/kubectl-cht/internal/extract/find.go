package extract

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/medic/cht-backup/snapshot/catalog"
	"github.com/medic/cht-backup/snapshot/couchdb"
	"github.com/medic/cht-backup/snapshot/file/tree"
)

// Node is the name that a CouchDB of one node has in the CHT's image, in any namespace.
const Node = "couchdb@127.0.0.1"

// Held is one node's tree in a repository.
type Held struct {
	// Name is the tree's.
	Name string
	Tree tree.Tree
}

// Shard is one file of a database.
type Shard struct {
	Range string
	// Held is whose tree it is in, by its place; File is what it is there.
	Held int
	File tree.File
}

// Database is what a backup has of one.
type Database struct {
	Name, Suffix string
	Props        json.RawMessage
	// Shards, one for each range, in their order.
	Shards []Shard
}

// Size is the sum of its files' sizes, in bytes.
func (d Database) Size() (n int64) {
	for _, s := range d.Shards {
		n += s.File.Size
	}
	return n
}

// Map is the shard map that has all ranges on the one Node.
func (d Database) Map() couchdb.ShardMap {
	m := couchdb.ShardMap{ID: d.Name, ByNode: map[string][]string{}, ByRange: map[string][]string{}, Props: d.Props}
	for _, b := range []byte(d.Suffix) {
		m.Suffix = append(m.Suffix, int(b))
	}
	for _, s := range d.Shards {
		m.Changelog = append(m.Changelog, []string{"add", s.Range, Node})
		m.ByNode[Node] = append(m.ByNode[Node], s.Range)
		m.ByRange[s.Range] = []string{Node}
	}
	return m
}

// path is where CouchDB looks for a shard, below its data directory: also where
// compaction was between its last two renames, and the backup has only the new file.
func (d Database) path(s Shard) string {
	return "shards/" + s.Range + "/" + d.Name + d.Suffix + shardEnd
}

// Missing is the error of a database that a backup does not have.
type Missing struct {
	Name string
	// Nearest are names that it has.
	Nearest []string
}

func (e *Missing) Error() string {
	if len(e.Nearest) == 0 {
		return "there is no database " + e.Name + " in it, nor any other"
	}
	return "there is no database " + e.Name + " in it; the nearest names are: " + strings.Join(e.Nearest, ", ")
}

const (
	shardEnd   = ".couch"
	compactEnd = ".couch.compact"
	// nearest names are told of.
	nearest = 3
)

var shardForm = regexp.MustCompile(`^data/shards/([0-9a-f]{8}-[0-9a-f]{8})/([a-z_][a-z0-9_$()+/.-]*?)(\.[0-9]{1,18})(\.couch|\.couch\.compact)$`)

// Find gives what the trees have of a database. Of several of one name, of which all but
// one were deleted, it is the one that the record names; else the latest.
func Find(record catalog.Record, trees []Held, name string) (Database, []string, error) {
	bySuffix, names := map[string]map[string][]Shard{}, map[string]bool{}
	compacted := map[string]Shard{} // by the name that the whole file would have
	take := func(suffix string, s Shard) {
		if bySuffix[suffix] == nil {
			bySuffix[suffix] = map[string][]Shard{}
		}
		bySuffix[suffix][s.Range] = append(bySuffix[suffix][s.Range], s)
	}
	for i, held := range trees {
		clear(compacted)
		whole := map[string]bool{}
		for _, f := range held.Tree.Files {
			m := shardForm.FindStringSubmatch(f.Path)
			if m == nil {
				continue
			}
			names[m[2]] = true
			if m[2] != name {
				continue
			}
			s := Shard{Range: m[1], Held: i, File: f}
			if m[4] == compactEnd {
				compacted[strings.TrimSuffix(f.Path, ".compact")] = s
				continue
			}
			whole[f.Path] = true
			take(m[3], s)
		}
		for path, s := range compacted {
			if !whole[path] {
				take(shardForm.FindStringSubmatch(path)[3], s)
			}
		}
	}
	if len(bySuffix) == 0 {
		return Database{}, nil, &Missing{Name: name, Nearest: near(name, slices.Sorted(maps.Keys(names)))}
	}
	return choose(record, trees, name, bySuffix)
}

// choose takes the first that is whole: as the record's maps have it, else the latest.
func choose(record catalog.Record, trees []Held, name string, bySuffix map[string]map[string][]Shard) (Database, []string, error) {
	why := ""
	for _, survey := range []catalog.Survey{record.After, record.Before} {
		m, ok := survey.ShardMaps[name]
		if !ok {
			continue
		}
		there := map[string][]Shard{}
		suffix := strings.TrimPrefix(m.ShardFile(""), "shards//"+name)
		for r := range m.ByRange {
			if s := bySuffix[suffix][r]; len(s) > 0 {
				there[r] = s
			}
		}
		if gap := gapIn(there); gap != "" {
			why = cmp.Or(why, gap)
			continue
		}
		d, notes := made(trees, name, suffix, there)
		if len(m.Props) > 0 {
			d.Props = m.Props
		}
		return d, notes, nil
	}
	suffixes := slices.Collect(maps.Keys(bySuffix))
	slices.SortFunc(suffixes, func(a, b string) int { return cmp.Or(cmp.Compare(len(b), len(a)), cmp.Compare(b, a)) })
	for _, suffix := range suffixes {
		gap := gapIn(bySuffix[suffix])
		if gap != "" {
			why = cmp.Or(why, gap)
			continue
		}
		d, notes := made(trees, name, suffix, bySuffix[suffix])
		if len(suffixes) > 1 {
			notes = append(notes, fmt.Sprintf("there are files of %d databases %s, made one after the other; this is the one with the suffix %s", len(suffixes), name, suffix))
		}
		return d, notes, nil
	}
	return Database{}, nil, fmt.Errorf("the files of database %s are not whole: %s", name, why)
}

// made takes of a shard's copies the longest.
func made(trees []Held, name, suffix string, byRange map[string][]Shard) (d Database, notes []string) {
	d = Database{Name: name, Suffix: suffix, Props: json.RawMessage(`{}`)}
	for _, r := range slices.Sorted(maps.Keys(byRange)) {
		s := slices.MaxFunc(byRange[r], func(a, b Shard) int { return cmp.Compare(a.File.Size, b.File.Size) })
		if n := len(byRange[r]); n > 1 {
			notes = append(notes, fmt.Sprintf("%d nodes have a copy of the shard %s; it is read from %s, where it is longest", n, r, trees[s.Held].Tree.Node))
		}
		d.Shards = append(d.Shards, s)
	}
	return d, notes
}

// gapIn says why the ranges do not make one whole, "" if they do.
func gapIn(byRange map[string][]Shard) string {
	next := uint64(0)
	for _, r := range slices.Sorted(maps.Keys(byRange)) {
		from, _ := strconv.ParseUint(r[:8], 16, 32)
		to, _ := strconv.ParseUint(r[9:], 16, 32)
		switch {
		case from > next:
			return fmt.Sprintf("no node has a shard of the range %08x-%08x", next, from-1)
		case from < next:
			return fmt.Sprintf("the range %s overlaps another: its shards were being split", r)
		}
		next = to + 1
	}
	if next != math.MaxUint32+1 {
		return fmt.Sprintf("no node has a shard of the range %08x-%08x", next, uint32(math.MaxUint32))
	}
	return ""
}

// near gives the names that are most like one.
func near(name string, all []string) []string {
	all = slices.Clone(all)
	slices.SortStableFunc(all, func(a, b string) int { return cmp.Compare(edits(name, a), edits(name, b)) })
	return all[:min(nearest, len(all))]
}

// edits counts how many letters have to be changed, added or taken away.
func edits(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			change := diagonal
			if a[i] != b[j] {
				change++
			}
			diagonal, row[j+1] = row[j+1], min(change, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
