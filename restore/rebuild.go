package restore

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/medic/cht-backup/snapshot/couchdb"
)

// mostRebuildNotes are told.
const mostRebuildNotes = 20

// rebuildShards makes the shard maps of a backup that has none, since it was put
// together from the tags of snapshots, out of the files on the volumes: a file tells
// its database, its range and, in its suffix, when the database was made. cut is the
// backup's point in time: CouchDB's start script makes empty databases of its own, of
// later suffixes. What properties a database had is not in the files; a partitioned
// one, which a CHT has none of, would become an ordinary one.
func rebuildShards(services map[string]string, files map[string]map[string]bool, cut time.Time) (plan shardPlan) {
	plan = shardPlan{Notes: []string{"the shard maps were made from the files on the volumes, since the backup was put together from tags: there is no count and no revision that the data could be compared with"}}
	defer func() { // files may be many, and a status is small
		if more := len(plan.Notes) - mostRebuildNotes; more > 0 {
			plan.Notes = append(plan.Notes[:mostRebuildNotes], fmt.Sprintf("and %d more notes of files that were left alone", more))
		}
	}()
	all := map[string]map[string]*pieces{} // by database and suffix
	for _, node := range slices.Sorted(maps.Keys(files)) {
		for _, file := range slices.Sorted(maps.Keys(files[node])) {
			shardRange, id, suffix, ok := parseShard(file)
			if !ok {
				plan.Notes = append(plan.Notes, fmt.Sprintf("%s on the volume of %s is no shard of a database, and left alone", file, services[node]))
				continue
			}
			if all[id] == nil {
				all[id] = map[string]*pieces{}
			}
			if all[id][suffix] == nil {
				all[id][suffix] = &pieces{suffix: suffix, nodes: map[string][]string{}}
			}
			p := all[id][suffix]
			p.nodes[shardRange] = append(p.nodes[shardRange], node)
		}
	}
	for _, id := range slices.Sorted(maps.Keys(all)) {
		choices := slices.Collect(maps.Values(all[id]))
		slices.SortFunc(choices, func(a, b *pieces) int { return a.order(b, cut) })
		at := slices.IndexFunc(choices, func(p *pieces) bool { return p.gap() == "" })
		if at < 0 {
			plan.Missing = append(plan.Missing, fmt.Sprintf("database %s (%s): %s", id, choices[0].suffix, choices[0].gap()))
			continue
		}
		for i, p := range choices {
			if i != at && p.made() <= cut.Unix() {
				plan.Notes = append(plan.Notes, fmt.Sprintf("database %s: files with the suffix %s are of one that was deleted, and left alone", id, p.suffix))
			}
		}
		plan.Maps = append(plan.Maps, choices[at].shardMap(id))
		for _, nodes := range choices[at].nodes {
			plan.Shards += len(nodes)
		}
	}
	return plan
}

// pieces are the shards of one database of one suffix: the nodes of each range.
type pieces struct {
	suffix string
	nodes  map[string][]string
}

// made is when the database was, in Unix seconds.
func (p *pieces) made() int64 {
	at, _ := strconv.ParseInt(p.suffix[1:], 10, 64) // parseShard took digits only
	return at
}

// order puts first what the backup can hold: the newest made before the cut. Of those
// made after it, by clocks that do not agree, the oldest comes first.
func (p *pieces) order(o *pieces, cut time.Time) int {
	mine, theirs := p.made() > cut.Unix(), o.made() > cut.Unix()
	switch {
	case mine != theirs && mine:
		return 1
	case mine != theirs:
		return -1
	case mine:
		return cmp.Compare(p.made(), o.made())
	default:
		return cmp.Compare(o.made(), p.made())
	}
}

// gap says why the ranges are not all there once, "" if they are.
func (p *pieces) gap() string {
	ranges := slices.Sorted(maps.Keys(p.nodes))
	next, copies := uint64(0), len(p.nodes[ranges[0]])
	for _, r := range ranges {
		from, to := bounds(r)
		switch {
		case from > next:
			return fmt.Sprintf("no volume has a shard of the range %08x-%08x", next, from-1)
		case from < next:
			return fmt.Sprintf("the range %s overlaps another: its shards were being split", r)
		case len(p.nodes[r]) != copies:
			return fmt.Sprintf("the range %s is on %d nodes, %s on %d: some are left of a move", ranges[0], copies, r, len(p.nodes[r]))
		}
		next = to + 1
	}
	if next != math.MaxUint32+1 {
		return fmt.Sprintf("no volume has a shard of the range %08x-%08x", next, uint32(math.MaxUint32))
	}
	return ""
}

func (p *pieces) shardMap(id string) couchdb.ShardMap {
	m := couchdb.ShardMap{ID: id, ByNode: map[string][]string{}, ByRange: map[string][]string{}, Props: json.RawMessage(`{}`)}
	for _, b := range []byte(p.suffix) {
		m.Suffix = append(m.Suffix, int(b))
	}
	for _, r := range slices.Sorted(maps.Keys(p.nodes)) {
		for _, node := range p.nodes[r] {
			m.ByRange[r] = append(m.ByRange[r], node)
			m.ByNode[node] = append(m.ByNode[node], r)
			m.Changelog = append(m.Changelog, []string{"add", r, node})
		}
	}
	return m
}

// parseShard takes a shard's name apart: shards/RANGE/DATABASE.SECONDS.
func parseShard(file string) (shardRange, id, suffix string, ok bool) {
	rest, ours := strings.CutPrefix(file, "shards/")
	shardRange, name, named := strings.Cut(rest, "/")
	dot := strings.LastIndexByte(name, '.')
	if !ours || !named || dot < 1 || len(name)-dot < 2 || len(name)-dot > 19 {
		return "", "", "", false
	}
	id, suffix = name[:dot], name[dot:]
	if strings.Trim(suffix[1:], "0123456789") != "" {
		return "", "", "", false
	}
	from, to := bounds(shardRange)
	return shardRange, id, suffix, from <= to
}

// bounds reads a range; what is none begins after its end.
func bounds(shardRange string) (from, to uint64) {
	first, last, _ := strings.Cut(shardRange, "-")
	from, err := strconv.ParseUint(first, 16, 32)
	if err != nil || len(first) != 8 || len(last) != 8 {
		return 1, 0
	}
	if to, err = strconv.ParseUint(last, 16, 32); err != nil {
		return 1, 0
	}
	return from, to
}
