package main

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/medic/cht-backup/integration/cht/couch"
)

// shardMap is a document of _dbs as the known way's scripts handle it.
type shardMap struct {
	ID        string              `json:"_id"`
	Rev       string              `json:"_rev,omitempty"`
	Suffix    []int               `json:"shard_suffix"`
	Changelog [][]string          `json:"changelog"`
	ByNode    map[string][]string `json:"by_node"`
	ByRange   map[string][]string `json:"by_range"`
	Props     map[string]any      `json:"props,omitempty"`
}

// move gives one range to another node, as moveShard of the scripts does.
func (m *shardMap) move(shardRange, to string) {
	from := m.ByRange[shardRange]
	if slices.Contains(from, to) {
		return
	}
	m.ByRange[shardRange] = []string{to}
	m.ByNode[to] = append(m.ByNode[to], shardRange)
	m.Changelog = append(m.Changelog, []string{"add", shardRange, to})
	for _, node := range from {
		m.ByNode[node] = slices.DeleteFunc(m.ByNode[node], func(r string) bool { return r == shardRange })
		if len(m.ByNode[node]) == 0 {
			delete(m.ByNode, node)
		}
		m.Changelog = append(m.Changelog, []string{"remove", shardRange, node})
	}
}

// turn is what one way took.
type turn struct {
	databases, requests int
	took                time.Duration
	// writes is the part of took that PUTs took, for the known way.
	writes time.Duration
}

func (t turn) rate() float64 { return per(t.databases, t.took) }

// add makes one of two turns.
func (t turn) add(u turn) turn {
	return turn{t.databases + u.databases, t.requests + u.requests, t.took + u.took, t.writes + u.writes}
}

func per(n int, took time.Duration) float64 {
	if took <= 0 {
		return 0
	}
	return float64(n) / took.Seconds()
}

// known renames databases the known way: one request after the other, each for
// one range of one database. ranges are those of each old node, by database; the
// scripts are given them in a file.
func known(ctx context.Context, c *couch.Client, databases []string, ranges map[string]map[string][]string, names map[string]string) (t turn, err error) {
	began := time.Now()
	for _, db := range databases {
		path := "/_node/_local/_dbs/" + couch.Escape(db)
		for _, old := range sortedKeys(names) {
			for _, shardRange := range ranges[db][old] {
				var m shardMap
				if err := c.Get(ctx, path, &m); err != nil {
					return t, fmt.Errorf("read the map of %s: %w", db, err)
				}
				m.move(shardRange, names[old])
				put := time.Now()
				if err := c.Do(ctx, "PUT", path, m, nil); err != nil {
					return t, fmt.Errorf("move %s of %s: %w", shardRange, db, err)
				}
				t.writes += time.Since(put)
				t.requests += 2
			}
		}
		t.databases++
	}
	t.took = time.Since(began)
	return t, nil
}

func sortedKeys[V any](m map[string]V) []string {
	var keys []string
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
