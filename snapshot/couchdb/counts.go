package couchdb

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
)

// infoBatch is how many databases one _dbs_info request may name (CouchDB
// refuses more than 100).
const infoBatch = 100

// Counts are a database's documents, living and deleted.
type Counts struct {
	Documents int64 `json:"documents"`
	Deleted   int64 `json:"deleted"`
}

// Counts asks for the counts of all named databases. One that is gone by then
// is left out of the answer; any other error in an item is an error. No node may
// be in maintenance mode: see InMaintenance.
func (c *Client) Counts(ctx context.Context, databases []string) (map[string]Counts, error) {
	counts := make(map[string]Counts, len(databases))
	for start := 0; start < len(databases); start += infoBatch {
		keys := databases[start:min(start+infoBatch, len(databases))]
		var items []struct {
			Key   string
			Error string
			Info  *struct {
				DocCount    int64 `json:"doc_count"`
				DocDelCount int64 `json:"doc_del_count"`
			}
		}
		if err := c.do(ctx, http.MethodPost, "/_dbs_info", map[string]any{"keys": keys}, &items); err != nil {
			return nil, err
		}
		for _, item := range items {
			switch {
			case item.Info != nil:
				counts[item.Key] = Counts{Documents: item.Info.DocCount, Deleted: item.Info.DocDelCount}
			case item.Error != "not_found":
				return nil, fmt.Errorf("counts of database %s: %s", item.Key, item.Error)
			}
		}
	}
	return counts, nil
}

// ErrUnreadable says that a document is listed and has no body to be read.
var ErrUnreadable = errors.New("it is listed but cannot be read")

// ReadSample reads up to limit documents of a database with their bodies and
// tells how many there were. A row without its document is an error: the index
// knows what the shard does not have.
func (c *Client) ReadSample(ctx context.Context, database string, limit int) (read int64, err error) {
	var page struct {
		Rows []struct {
			ID  string          `json:"id"`
			Doc json.RawMessage `json:"doc"`
		} `json:"rows"`
	}
	path := fmt.Sprintf("/%s/_all_docs?include_docs=true&limit=%d", escape(database), limit)
	if err := c.do(ctx, http.MethodGet, path, nil, &page); err != nil {
		return 0, err
	}
	for _, row := range page.Rows {
		if len(row.Doc) == 0 || string(row.Doc) == "null" {
			return read, fmt.Errorf("document %s: %w", row.ID, ErrUnreadable)
		}
		read++
	}
	return read, nil
}
