package couchdb

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// mapPage is how many shard maps one request asks for.
const mapPage = 200

// ShardMap is one database's document in the node-local database _dbs: which
// node holds which range. Every node keeps a copy.
type ShardMap struct {
	ID  string `json:"_id"`
	Rev string `json:"_rev,omitempty"`
	// Suffix is the shard files' ending as byte values, with the leading dot.
	Suffix    []int               `json:"shard_suffix"`
	Changelog [][]string          `json:"changelog"`
	ByNode    map[string][]string `json:"by_node"`
	ByRange   map[string][]string `json:"by_range"`
	Props     json.RawMessage     `json:"props,omitempty"`
}

// ShardFile is the node-local name of the shard of that range, as
// LocalDatabases lists it.
func (m ShardMap) ShardFile(shardRange string) string {
	suffix := make([]byte, len(m.Suffix))
	for i, b := range m.Suffix {
		suffix[i] = byte(b)
	}
	return "shards/" + shardRange + "/" + m.ID + string(suffix)
}

// Renamed gives the map under new node names. A node that names lacks is an
// error: half a rename is a broken map.
func (m ShardMap) Renamed(names map[string]string) (ShardMap, error) {
	renamed := func(old string) (string, error) {
		if to, ok := names[old]; ok {
			return to, nil
		}
		return "", fmt.Errorf("shard map of %s names node %s, which the backup has no volume of", m.ID, old)
	}
	out := ShardMap{ID: m.ID, Suffix: m.Suffix, Props: m.Props,
		ByNode: make(map[string][]string, len(m.ByNode)), ByRange: make(map[string][]string, len(m.ByRange))}
	for node, ranges := range m.ByNode {
		to, err := renamed(node)
		if err != nil {
			return ShardMap{}, err
		}
		out.ByNode[to] = slices.Clone(ranges)
	}
	for shardRange, nodes := range m.ByRange {
		out.ByRange[shardRange] = make([]string, 0, len(nodes)) // a range that no node has stays in sight
		for _, node := range nodes {
			to, err := renamed(node)
			if err != nil {
				return ShardMap{}, err
			}
			out.ByRange[shardRange] = append(out.ByRange[shardRange], to)
		}
	}
	for _, entry := range m.Changelog {
		entry = slices.Clone(entry)
		if len(entry) > 2 {
			// A changelog may name nodes that left long ago: those stay as they are.
			if to, ok := names[entry[2]]; ok {
				entry[2] = to
			}
		}
		out.Changelog = append(out.Changelog, entry)
	}
	return out, nil
}

// SamePlaces tells whether two maps place the same ranges on the same nodes.
func (m ShardMap) SamePlaces(o ShardMap) bool {
	if len(m.ByNode) != len(o.ByNode) || !slices.Equal(m.Suffix, o.Suffix) {
		return false
	}
	for node, ranges := range m.ByNode {
		theirs, ok := o.ByNode[node]
		if !ok || len(theirs) != len(ranges) {
			return false
		}
		for _, r := range ranges {
			if !slices.Contains(theirs, r) {
				return false
			}
		}
	}
	return true
}

// ShardMaps reads all shard maps that node has.
func (c *Client) ShardMaps(ctx context.Context, node string) (map[string]ShardMap, error) {
	maps := make(map[string]ShardMap)
	startKey := ""
	for {
		query := url.Values{"include_docs": {"true"}, "limit": {fmt.Sprint(mapPage + 1)}}
		if startKey != "" {
			key, err := json.Marshal(startKey)
			if err != nil {
				return nil, err
			}
			query.Set("startkey", string(key))
		}
		var page struct {
			Rows []struct {
				ID  string    `json:"id"`
				Doc *ShardMap `json:"doc"`
			} `json:"rows"`
		}
		path := "/_node/" + escape(node) + "/_dbs/_all_docs?" + query.Encode()
		if err := c.do(ctx, http.MethodGet, path, nil, &page); err != nil {
			return nil, err
		}
		for i, row := range page.Rows {
			if i == mapPage {
				if row.ID == startKey {
					return nil, fmt.Errorf("GET %s: the page after %s is the same again", path, startKey) // never go round for ever
				}
				startKey = row.ID
				break
			}
			if row.Doc != nil && !strings.HasPrefix(row.ID, "_design/") {
				maps[row.ID] = *row.Doc
			}
		}
		if len(page.Rows) <= mapPage {
			return maps, nil
		}
	}
}

// PutShardMaps writes maps on the answering node, in bulk; the others get them
// from there. A map that is there with the same places is left alone; another
// one under its name is replaced: the image's start script makes _users and the
// like before we come.
func (c *Client) PutShardMaps(ctx context.Context, maps []ShardMap) error {
	for batch := range slices.Chunk(maps, mapPage) {
		conflicts, err := c.putBatch(ctx, batch)
		if err != nil {
			return err
		}
		for _, m := range conflicts {
			if err := c.replaceShardMap(ctx, m); err != nil {
				return err
			}
		}
	}
	return nil
}

// putBatch writes one request's worth and gives back those in conflict. Status
// 201 says nothing of the items, so each is looked at.
func (c *Client) putBatch(ctx context.Context, batch []ShardMap) (conflicts []ShardMap, err error) {
	docs := make([]ShardMap, len(batch))
	byID := make(map[string]ShardMap, len(batch))
	for i, m := range batch {
		m.Rev = ""
		docs[i], byID[m.ID] = m, m
	}
	var items []struct{ ID, Error, Reason string }
	if err := c.do(ctx, http.MethodPost, "/_node/_local/_dbs/_bulk_docs", map[string]any{"docs": docs}, &items); err != nil {
		return nil, err
	}
	if len(items) != len(batch) {
		return nil, fmt.Errorf("write shard maps: %d answers for %d maps", len(items), len(batch))
	}
	for _, item := range items {
		switch item.Error {
		case "":
		case "conflict":
			conflicts = append(conflicts, byID[item.ID])
		default:
			return nil, fmt.Errorf("write shard map of %s: %s: %s", item.ID, item.Error, item.Reason)
		}
	}
	return conflicts, nil
}

func (c *Client) replaceShardMap(ctx context.Context, m ShardMap) error {
	path := "/_node/_local/_dbs/" + escape(m.ID)
	var there ShardMap
	if err := c.do(ctx, http.MethodGet, path, nil, &there); err != nil {
		return err
	}
	if there.SamePlaces(m) {
		return nil
	}
	m.Rev = there.Rev
	return c.do(ctx, http.MethodPut, path, m, nil)
}
