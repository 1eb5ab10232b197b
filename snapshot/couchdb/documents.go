package couchdb

import (
	"context"
	"crypto/md5" //nolint:gosec // it is what CouchDB keeps of an attachment
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Info is what a database says of itself.
type Info struct {
	Counts
	// UpdateSeq is the position of the latest change, PurgeSeq of the latest purge.
	UpdateSeq string
	PurgeSeq  string
	// Created tells a database from another of its name.
	Created string
	// FileBytes is the size of the files of all shards, views left out.
	FileBytes int64
}

// Sequence is the number that UpdateSeq begins with: the changes of all shards
// together. It never falls; a file that went back to an earlier state has a lesser
// one, even where no document was added or deleted since.
func (i Info) Sequence() (int64, bool) {
	head, _, _ := strings.Cut(i.UpdateSeq, "-")
	n, err := strconv.ParseInt(head, 10, 64)
	return n, err == nil
}

// Infos asks for several databases at once, as Counts does.
func (c *Client) Infos(ctx context.Context, databases []string) (map[string]Info, error) {
	infos := make(map[string]Info, len(databases))
	for keys := range slices.Chunk(databases, infoBatch) {
		var items []struct {
			Key   string
			Error string
			Info  *struct {
				DocCount    int64           `json:"doc_count"`
				DocDelCount int64           `json:"doc_del_count"`
				UpdateSeq   json.RawMessage `json:"update_seq"` // a number in old versions
				Created     string          `json:"instance_start_time"`
				PurgeSeq    json.RawMessage `json:"purge_seq"` // a number in old versions
				Sizes       struct {
					File int64 `json:"file"`
				} `json:"sizes"`
			}
		}
		if err := c.do(ctx, http.MethodPost, "/_dbs_info", map[string]any{"keys": keys}, &items); err != nil {
			return nil, err
		}
		for _, item := range items {
			switch {
			case item.Info != nil:
				infos[item.Key] = Info{Counts: Counts{Documents: item.Info.DocCount, Deleted: item.Info.DocDelCount},
					UpdateSeq: strings.Trim(string(item.Info.UpdateSeq), `"`), PurgeSeq: purges(item.Info.PurgeSeq), Created: item.Info.Created,
					FileBytes: item.Info.Sizes.File}
			case item.Error != "not_found":
				return nil, fmt.Errorf("look at database %s: %s", item.Key, item.Error)
			}
		}
	}
	return infos, nil
}

// purges gives the number before the dash: the rest names nodes and files, and
// differs between a copy and its source.
func purges(raw json.RawMessage) string {
	number, _, _ := strings.Cut(strings.Trim(string(raw), `"`), "-")
	return number
}

// IDs lists up to limit ids of living documents from start on, after skip.
func (c *Client) IDs(ctx context.Context, database, start string, skip, limit int) ([]string, error) {
	query := url.Values{"limit": {strconv.Itoa(limit)}}
	if skip > 0 {
		query.Set("skip", strconv.Itoa(skip))
	}
	if start != "" {
		key, err := json.Marshal(start)
		if err != nil {
			return nil, err
		}
		query.Set("startkey", string(key))
	}
	var page struct{ Rows []struct{ ID string } }
	if err := c.do(ctx, http.MethodGet, "/"+escape(database)+"/_all_docs?"+query.Encode(), nil, &page); err != nil {
		return nil, err
	}
	ids := make([]string, len(page.Rows))
	for i, row := range page.Rows {
		ids[i] = row.ID
	}
	return ids, nil
}

// LivingRevs reads the named documents and gives the living leaf revisions of
// each, sorted. One that is deleted or not there is left out. One without a body
// is an ErrUnreadable.
func (c *Client) LivingRevs(ctx context.Context, database string, ids []string) (map[string][]string, error) {
	var page struct {
		Rows []struct {
			Key   string
			Error string
			Value struct {
				Rev     string
				Deleted bool
			}
			Doc *DocHead
		}
	}
	path := "/" + escape(database) + "/_all_docs?include_docs=true&conflicts=true"
	if err := c.do(ctx, http.MethodPost, path, map[string]any{"keys": ids}, &page); err != nil {
		return nil, err
	}
	revs := make(map[string][]string, len(ids))
	for _, row := range page.Rows {
		switch {
		case row.Error == "not_found" || row.Value.Deleted:
		case row.Error != "":
			return nil, fmt.Errorf("document %s of database %s: %s", row.Key, database, row.Error)
		case row.Doc == nil:
			return nil, fmt.Errorf("document %s: %w", row.Key, ErrUnreadable)
		default:
			all := append([]string{row.Value.Rev}, row.Doc.Conflicts...)
			slices.Sort(all)
			revs[row.Key] = all
		}
	}
	return revs, nil
}

// Head reads one leaf revision of a document.
func (c *Client) Head(ctx context.Context, database, id, rev string) (DocHead, error) {
	var head DocHead
	err := c.do(ctx, http.MethodGet, "/"+escape(database)+"/"+escapeID(id)+"?rev="+url.QueryEscape(rev), nil, &head)
	return head, err
}

// ReadAttachment reads an attachment to its end, and gives the digest of its
// stored bytes and how many there were. idle bounds the wait for the next byte.
func (c *Client) ReadAttachment(ctx context.Context, database, id, rev, name string, idle time.Duration) (digest string, n int64, err error) {
	path := "/" + escape(database) + "/" + escapeID(id) + "/" + escape(name)
	// CouchDB keeps text packed, and its digest is of the packed bytes.
	body, err := c.stream(ctx, http.MethodGet, path+"?rev="+url.QueryEscape(rev), nil, "gzip", idle)
	if err != nil {
		return "", 0, err
	}
	defer func() { _ = body.Close() }()
	sum := md5.New() //nolint:gosec // see above
	if n, err = io.Copy(sum, body); err != nil {
		return "", n, fmt.Errorf("GET %s: %w", path, broken(err))
	}
	return "md5-" + base64.StdEncoding.EncodeToString(sum.Sum(nil)), n, nil
}

// View is one view of a design document.
type View struct{ Design, Name string }

// designPage is how many design documents one request asks for: some are large.
const designPage = 20

// Views lists the views of a database, and the design documents with an index of
// another kind, which have no views that could be asked.
func (c *Client) Views(ctx context.Context, database string) (views []View, others []string, err error) {
	start := "_design/"
	for {
		var page struct {
			Rows []struct {
				ID  string
				Doc struct {
					Language string
					Views    map[string]json.RawMessage
					Indexes  json.RawMessage
					Nouveau  json.RawMessage
				}
			}
		}
		key, err := json.Marshal(start)
		if err != nil {
			return nil, nil, err
		}
		query := url.Values{"include_docs": {"true"}, "startkey": {string(key)}, "endkey": {`"_design0"`}, "limit": {strconv.Itoa(designPage + 1)}}
		if err := c.do(ctx, http.MethodGet, "/"+escape(database)+"/_all_docs?"+query.Encode(), nil, &page); err != nil {
			return nil, nil, err
		}
		for i, row := range page.Rows {
			if start = row.ID; i == designPage {
				break
			}
			name := strings.TrimPrefix(row.ID, "_design/")
			if row.Doc.Language == "query" || row.Doc.Indexes != nil || row.Doc.Nouveau != nil {
				others = append(others, name)
			}
			if row.Doc.Language == "query" {
				continue
			}
			for view, raw := range row.Doc.Views {
				var has struct{ Map string } // lib has none, it is code for the others
				if json.Unmarshal(raw, &has) == nil && has.Map != "" {
					views = append(views, View{name, view})
				}
			}
		}
		if len(page.Rows) <= designPage {
			slices.SortFunc(views, func(a, b View) int { return strings.Compare(a.Design+"/"+a.Name, b.Design+"/"+b.Name) })
			return views, others, nil
		}
	}
}

// Ask asks a view for one row, for which CouchDB first brings its index up to
// date. That may take longer than any one request: ask again then.
func (c *Client) Ask(ctx context.Context, database string, view View) error {
	return c.do(ctx, http.MethodGet, "/"+escape(database)+"/_design/"+escape(view.Design)+"/_view/"+escape(view.Name)+"?limit=1&reduce=false", nil, nil)
}

// Indexed tells how many changes the indexers that run have worked through.
func (c *Client) Indexed(ctx context.Context) (done int64, err error) {
	var tasks []struct {
		Type string
		Done int64 `json:"changes_done"`
	}
	if err := c.do(ctx, http.MethodGet, "/_active_tasks", nil, &tasks); err != nil {
		return 0, err
	}
	for _, t := range tasks {
		if t.Type == "indexer" {
			done += t.Done
		}
	}
	return done, nil
}
