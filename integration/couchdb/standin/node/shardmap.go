package node

import (
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"math/rand/v2"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/medic/cht-backup/integration/couchdb/standin/shardfile"
)

// mapDoc is a document of _dbs.
type mapDoc struct {
	Suffix    []int               `json:"shard_suffix"`
	Changelog [][]string          `json:"changelog"`
	ByNode    map[string][]string `json:"by_node"`
	ByRange   map[string][]string `json:"by_range"`
	Props     json.RawMessage     `json:"props"`
}

// shard is one range of a database and the node that the map names for it.
type shard struct {
	Name  string // shards/RANGE/db.SUFFIX
	Range string
	Node  string
	begin uint32
	end   uint32
}

type shardMap struct {
	db     string
	suffix string // with its dot
	shards []shard
}

var rangeForm = regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{8}$`)

func parseMap(db string, body []byte) (*shardMap, error) {
	var doc mapDoc
	if err := json.Unmarshal(body, &doc); err != nil {
		return nil, fmt.Errorf("read shard map of %s: %w", db, err)
	}
	m := &shardMap{db: db}
	for _, c := range doc.Suffix {
		m.suffix += string(rune(c))
	}
	for node, ranges := range doc.ByNode {
		for _, r := range ranges {
			if !rangeForm.MatchString(r) {
				return nil, fmt.Errorf("read shard map of %s: range %q", db, r)
			}
			begin, _ := strconv.ParseUint(r[:8], 16, 32)
			end, _ := strconv.ParseUint(r[9:], 16, 32)
			m.shards = append(m.shards, shard{Name: "shards/" + r + "/" + db + m.suffix, Range: r, Node: node, begin: uint32(begin), end: uint32(end)})
		}
	}
	slices.SortFunc(m.shards, func(a, b shard) int { return strings.Compare(a.Range+a.Node, b.Range+b.Node) })
	return m, nil
}

// of finds the shard of a document.
func (m *shardMap) of(id string) (shard, error) {
	h := crc32.ChecksumIEEE([]byte(id))
	for _, s := range m.shards {
		if s.begin <= h && h <= s.end {
			return s, nil
		}
	}
	return shard{}, errNoShards
}

func (m *shardMap) created() string { return strings.TrimPrefix(m.suffix, ".") }

func dbOfShard(name string) string {
	parts := strings.SplitN(name, "/", 3)
	db := parts[len(parts)-1]
	if i := strings.LastIndexByte(db, '.'); i > 0 {
		db = db[:i]
	}
	return db
}

// newMap spreads q ranges over the nodes in turn, from a random one on.
func newMap(q int, nodes []string, suffix string) mapDoc {
	doc := mapDoc{ByNode: map[string][]string{}, ByRange: map[string][]string{}, Props: json.RawMessage("{}")}
	for _, c := range suffix {
		doc.Suffix = append(doc.Suffix, int(c))
	}
	width := (uint64(1) << 32) / uint64(q)
	first := rand.IntN(len(nodes))
	for i := range q {
		begin, end := uint64(i)*width, uint64(i+1)*width-1
		if i == q-1 {
			end = 0xffffffff
		}
		r := fmt.Sprintf("%08x-%08x", begin, end)
		node := nodes[(first+i)%len(nodes)]
		doc.ByNode[node] = append(doc.ByNode[node], r)
		doc.ByRange[r] = []string{node}
		doc.Changelog = append(doc.Changelog, []string{"add", r, node})
	}
	return doc
}

// mapCache is _dbs as requests use it.
type mapCache struct {
	mu   sync.RWMutex
	m    map[string]*shardMap
	last int64 // newest shard suffix given out
}

func (c *mapCache) get(db string) *shardMap {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.m[db]
}

func (c *mapCache) names() []string {
	c.mu.RLock()
	defer c.mu.RUnlock()
	out := make([]string, 0, len(c.m))
	for db := range c.m {
		out = append(out, db)
	}
	slices.Sort(out)
	return out
}

// suffix is the second of creation, never given twice: a recreated database
// must not meet the files of its predecessor.
func (c *mapCache) suffix() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.last = max(c.last+1, time.Now().Unix())
	return "." + strconv.FormatInt(c.last, 10)
}

func (n *Node) loadMaps() {
	n.maps.m = map[string]*shardMap{}
	var ids []string
	for _, d := range n.dbs.All() {
		ids = append(ids, d.ID)
	}
	n.refreshMaps(ids)
}

// refreshMaps takes changed maps into use and sees to the local shard files:
// a file that the map wants here and that is not there is created, silently.
func (n *Node) refreshMaps(ids []string) {
	for _, db := range ids {
		if strings.HasPrefix(db, "_design/") {
			continue
		}
		d := n.dbs.Memory(db)
		var m *shardMap
		if d != nil && !d.Winner().Deleted {
			body, err := n.dbs.Body(d, d.Winner())
			if err == nil {
				m, err = parseMap(db, body)
			}
			if err != nil {
				continue // a broken map is a database that does not exist
			}
		}
		n.maps.mu.Lock()
		old := n.maps.m[db]
		if m == nil {
			delete(n.maps.m, db)
		} else {
			n.maps.m[db] = m
		}
		n.maps.mu.Unlock()
		switch {
		case m != nil:
			for _, s := range m.shards {
				if s.Node == n.set.Name {
					n.ensureFile(s.Name)
				}
			}
		case old != nil:
			for _, s := range old.shards {
				if s.Node == n.set.Name {
					_ = n.removeFile(s.Name) // gone already is as good
				}
			}
		}
	}
}

func (n *Node) mapsCommitted(ids []string) {
	n.refreshMaps(ids)
	// Not waited for here: two nodes would wait for each other's commit.
	go n.push("_dbs", n.dbs, ids)
}

// ensureFile creates a shard file that is not there. Existing ones are opened
// when first used: a node with thousands must not read them all at start.
func (n *Node) ensureFile(name string) {
	path := n.filePath(name)
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		return
	}
	_, _ = n.openFile(name) // a failure shows at the first request
}

// putMap stores a map on this node and waits until every member has it.
func (n *Node) putMap(db string, doc mapDoc) error {
	body, err := json.Marshal(doc)
	if err != nil {
		return fmt.Errorf("encode shard map of %s: %w", db, err)
	}
	if err := n.dbs.Update([]shardfile.Edit{{ID: db, Body: body}})[0].Err; err != nil {
		return fmt.Errorf("store shard map of %s: %w", db, err)
	}
	n.push("_dbs", n.dbs, []string{db})
	return nil
}
