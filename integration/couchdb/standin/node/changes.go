package node

import (
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/medic/cht-backup/integration/couchdb/standin/shardfile"
)

// feed is one _changes request.
type feed struct {
	m          *shardMap
	pos        []position
	limit      int
	descending bool
	docs       bool
	allLeaves  bool
	opts       docOptions
	keep       func(id string) bool
}

type changeRow struct {
	Seq     string              `json:"seq"`
	ID      string              `json:"id"`
	Changes []map[string]string `json:"changes"`
	Deleted bool                `json:"deleted,omitempty"`
	Doc     json.RawMessage     `json:"doc,omitempty"`
}

const (
	changesTimeout   = 60 * time.Second
	changesHeartbeat = 60 * time.Second
)

func (n *Node) changes(w http.ResponseWriter, r *http.Request, m *shardMap) error {
	q := query{r.URL.Query()}
	f, err := n.newFeed(r, m, q)
	if err != nil {
		return err
	}
	kind := q.Get("feed")
	switch kind {
	case "", "normal", "longpoll", "continuous":
	default:
		return fail(http.StatusBadRequest, "bad_request", "Supported `feed` types: normal, continuous, live, longpoll, eventsource")
	}
	changed, release := n.events.subscribe(m.db)
	defer release()
	rows, pending, err := f.next(r.Context(), n)
	if err != nil {
		return err
	}
	out := &feedWriter{w: w, lines: kind == "continuous"}
	if kind == "" || kind == "normal" {
		out.rows(rows)
		out.end(m.token(f.pos), pending)
		return nil
	}
	timeout, beat := waits(q)
	out.start()
	out.rows(rows)
	for (kind == "longpoll" && out.count == 0) || (kind == "continuous" && f.limit > 0) {
		if mode := n.maintenance(); mode == "nolb" || mode == "true" {
			break // a feed ends at once when its node is in maintenance
		}
		select {
		case <-changed:
			rows, pending, err = f.next(r.Context(), n)
			if err != nil {
				return nil // the answer has begun: all that is left is to end it
			}
			out.rows(rows)
			continue
		case <-beat:
			out.beat()
			continue
		case <-timeout:
		case <-r.Context().Done():
			return nil
		}
		break
	}
	out.end(m.token(f.pos), pending)
	return nil
}

// waits gives the channels that end or enliven a feed. A heartbeat replaces the timeout.
func waits(q query) (timeout, beat <-chan time.Time) {
	if v := q.Get("heartbeat"); v != "" && v != "false" {
		every := changesHeartbeat
		if ms, err := q.number("heartbeat", 0); err == nil && ms > 0 {
			every = time.Duration(ms) * time.Millisecond
		}
		return nil, time.Tick(every)
	}
	after := changesTimeout
	if ms, err := q.number("timeout", 0); err == nil && ms > 0 {
		after = time.Duration(ms) * time.Millisecond
	}
	return time.After(after), nil
}

func (n *Node) newFeed(r *http.Request, m *shardMap, q query) (*feed, error) {
	f := &feed{m: m, descending: q.is("descending", false), docs: q.is("include_docs", false), allLeaves: q.Get("style") == "all_docs",
		opts: docOptions{conflicts: q.is("conflicts", false)}, keep: func(string) bool { return true }}
	var err error
	if f.limit, err = q.number("limit", 1<<40); err != nil {
		return nil, err
	}
	f.limit = max(f.limit, 1) // as CouchDB: 0 means 1
	var in struct {
		DocIDs []string `json:"doc_ids"`
	}
	if r.Method == http.MethodPost {
		raw, err := readBody(r)
		if err != nil {
			return nil, err
		}
		if len(raw) > 0 && json.Unmarshal(raw, &in) != nil {
			return nil, fail(http.StatusBadRequest, "bad_request", "invalid UTF-8 JSON")
		}
	}
	switch filter := q.Get("filter"); filter {
	case "":
	case "_doc_ids":
		if v := q.Get("doc_ids"); v != "" {
			_ = json.Unmarshal([]byte(v), &in.DocIDs) // an unreadable list matches nothing
		}
		f.keep = func(id string) bool { return slices.Contains(in.DocIDs, id) }
	case "_design":
		f.keep = func(id string) bool { return strings.HasPrefix(id, "_design/") }
	default:
		return nil, fail(http.StatusNotFound, "not_found", "the stand-in has no filter "+filter)
	}
	since := q.Get("since")
	if since == "" {
		since = r.Header.Get("Last-Event-ID")
	}
	if since == "now" {
		infos, err := gather[shardfile.Info](r.Context(), n, m, "info", func(s shard) shardRequest { return shardRequest{s.Name} })
		if err != nil {
			return nil, err
		}
		for _, in := range infos {
			f.pos = append(f.pos, position{in.Seq, in.UUID})
		}
		return f, nil
	}
	f.pos, err = m.positions(since)
	return f, err
}

// next reads what changed behind the feed's positions and moves them.
func (f *feed) next(ctx context.Context, n *Node) (rows []changeRow, pending int, err error) {
	index := map[string]int{}
	for i := range f.m.shards {
		index[f.m.shards[i].Name] = i
	}
	answers, err := gather[changesAnswer](ctx, n, f.m, "changes", func(s shard) changesRequest {
		p := f.pos[index[s.Name]]
		return changesRequest{Shard: s.Name, Since: p.seq, UUID: p.uuid, Limit: f.limit, Descending: f.descending, Docs: f.docs}
	})
	if err != nil {
		return nil, 0, err
	}
	for i, a := range answers {
		reset := f.pos[i].uuid != "" && !strings.HasPrefix(a.UUID, f.pos[i].uuid)
		if f.pos[i].uuid = a.UUID; reset {
			f.pos[i].seq = 0
		}
	}
	for i, a := range answers {
		pending += a.Pending
		for k, d := range a.Docs {
			if f.limit == 0 {
				pending += len(a.Docs) - k
				break
			}
			f.pos[i].seq = max(f.pos[i].seq, d.Seq)
			if !f.keep(d.ID) {
				continue
			}
			f.limit--
			rows = append(rows, f.row(d))
		}
	}
	return rows, pending, nil
}

func (f *feed) row(d *wireDoc) changeRow {
	row := changeRow{Seq: f.m.token(f.pos), ID: d.ID, Deleted: d.Leaves[0].Deleted}
	for i := range d.Leaves {
		if i == 0 || f.allLeaves {
			row.Changes = append(row.Changes, map[string]string{"rev": d.Leaves[i].rev()})
		}
	}
	if f.docs {
		row.Doc = d.render(&d.Leaves[0], f.opts)
	}
	return row
}

// feedWriter writes rows as they come: one object, or a line for each.
type feedWriter struct {
	w       http.ResponseWriter
	lines   bool
	started bool
	count   int
}

func (o *feedWriter) write(s string) {
	o.w.Write([]byte(s)) //nolint:errcheck // the client is gone: its context ends the feed
}

func (o *feedWriter) start() {
	if o.started {
		return
	}
	o.started = true
	o.w.Header().Set("Content-Type", "application/json")
	if !o.lines {
		o.write("{\"results\":[\n")
	}
	o.flush()
}

func (o *feedWriter) flush() {
	if f, ok := o.w.(http.Flusher); ok {
		f.Flush()
	}
}

func (o *feedWriter) beat() {
	o.write("\n")
	o.flush()
}

func (o *feedWriter) rows(rows []changeRow) {
	o.start()
	for _, row := range rows {
		b, err := json.Marshal(row)
		if err != nil {
			continue // made of strings and documents read from JSON
		}
		switch {
		case o.lines:
			o.write(string(b) + "\n")
		case o.count > 0:
			o.write(",\n" + string(b))
		default:
			o.write(string(b))
		}
		o.count++
	}
	if len(rows) > 0 {
		o.flush()
	}
}

func (o *feedWriter) end(last string, pending int) {
	o.start()
	b, _ := json.Marshal(map[string]any{"last_seq": last, "pending": pending}) // always encodes
	if o.lines {
		o.write(string(b) + "\n")
		return
	}
	o.write("\n],\n" + string(b[1:]) + "\n")
}
