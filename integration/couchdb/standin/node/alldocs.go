package node

import (
	"context"
	"net/http"
	"strings"
	"sync"
)

// allDocs lists documents over all shards in order of id.
func (n *Node) allDocs(w http.ResponseWriter, r *http.Request, m *shardMap) error {
	q := query{r.URL.Query()}
	docs := q.is("include_docs", false)
	o := docOptions{conflicts: q.is("conflicts", false), attachments: q.is("attachments", false)}
	ids, byKeys, err := wantedKeys(r, q)
	if err != nil {
		return err
	}
	if byKeys {
		return n.docsByKey(w, r, m, ids, docs, o)
	}
	limit, err := q.number("limit", 1<<62)
	if err != nil {
		return err
	}
	skip, err := q.number("skip", 0)
	if err != nil {
		return err
	}
	req := rangeRequest{Descending: q.is("descending", false), ExclusiveEnd: !q.is("inclusive_end", true), Docs: docs, Limit: limit}
	if limit < 1<<61 {
		req.Limit = limit + skip
	}
	if start, ok, err := q.json("startkey", "start_key"); err != nil {
		return err
	} else if s, isString := start.(string); ok && isString {
		req.Start = s
	}
	if end, ok, err := q.json("endkey", "end_key"); err != nil {
		return err
	} else if s, isString := end.(string); ok && isString {
		req.End, req.HasEnd = s, true
	}
	if strings.HasSuffix(r.URL.Path, "/_design_docs") {
		req.Start, req.End, req.HasEnd = "_design/", "_design0", true
	}
	answers, err := gather[rangeAnswer](r.Context(), n, m, "range", func(s shard) rangeRequest {
		one := req
		one.Shard = s.Name
		return one
	})
	if err != nil {
		return err
	}
	total := 0
	var found []*wireDoc
	for _, a := range answers {
		total += a.Total
		found = append(found, a.Docs...)
	}
	sortedByID(found, req.Descending)
	found = found[min(skip, len(found)):]
	found = found[:min(limit, len(found))]
	rows := make([]any, 0, len(found))
	for _, d := range found {
		rows = append(rows, d.row(docs, o))
	}
	return reply(w, http.StatusOK, map[string]any{"total_rows": total, "offset": nil, "rows": rows})
}

func (d *wireDoc) row(docs bool, o docOptions) map[string]any {
	l := &d.Leaves[0]
	value := map[string]any{"rev": l.rev()}
	row := map[string]any{"id": d.ID, "key": d.ID, "value": value}
	if l.Deleted {
		value["deleted"] = true
	}
	switch {
	case docs && l.Deleted:
		row["doc"] = nil
	case docs:
		row["doc"] = d.render(l, o)
	}
	return row
}

// wantedKeys reads keys from the body of a POST, or key and keys of the query.
func wantedKeys(r *http.Request, q query) (ids []string, ok bool, err error) {
	var in struct{ Keys []string }
	if r.Method == http.MethodPost {
		if err := readJSON(r, &in); err != nil {
			return nil, false, err
		}
		if in.Keys != nil {
			return in.Keys, true, nil
		}
	}
	v, ok, err := q.json("keys")
	if list, isList := v.([]any); ok && isList {
		for _, k := range list {
			if s, isString := k.(string); isString {
				ids = append(ids, s)
			}
		}
		return ids, true, nil
	}
	if err != nil {
		return nil, false, err
	}
	v, ok, err = q.json("key")
	if s, isString := v.(string); ok && isString {
		return []string{s}, true, nil
	}
	return nil, false, err
}

// fetchAll fetches several documents, some at a time. The answers are in the order
// of ids.
func (n *Node) fetchAll(ctx context.Context, m *shardMap, ids []string, bodies, data bool) ([]*wireDoc, []error) {
	found, errs := make([]*wireDoc, len(ids)), make([]error, len(ids))
	busy := make(chan struct{}, 16)
	var wg sync.WaitGroup
	for i, id := range ids {
		busy <- struct{}{}
		wg.Go(func() {
			defer func() { <-busy }()
			found[i], errs[i] = n.fetch(ctx, m, id, bodies, data)
		})
	}
	wg.Wait()
	return found, errs
}

func (n *Node) docsByKey(w http.ResponseWriter, r *http.Request, m *shardMap, ids []string, docs bool, o docOptions) error {
	found, errs := n.fetchAll(r.Context(), m, ids, false, o.attachments)
	rows := make([]any, len(ids))
	for i, id := range ids {
		switch {
		case errs[i] != nil:
			return errNodeDown
		case found[i] == nil:
			rows[i] = map[string]any{"key": id, "error": "not_found"}
		default:
			rows[i] = found[i].row(docs, o)
		}
	}
	info, err := n.dbInfo(r.Context(), m.db)
	if err != nil {
		return err
	}
	return reply(w, http.StatusOK, map[string]any{"total_rows": info["doc_count"], "offset": nil, "rows": rows})
}
