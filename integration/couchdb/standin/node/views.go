package node

import (
	"crypto/md5"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"slices"
	"strings"

	"github.com/medic/cht-backup/integration/couchdb/standin/shardfile"
)

type viewDef struct {
	Map    string `json:"map"`
	Reduce string `json:"reduce"`
}

type viewRequest struct {
	Shard string
	Views map[string]viewDef
	View  string
}

func (r viewRequest) shard() string { return r.Shard }

// signature names the index file: views with the same text share it.
func signature(views map[string]viewDef) string {
	b, _ := json.Marshal(views) // strings always encode, in order of name
	sum := md5.Sum(b)
	return hex.EncodeToString(sum[:])
}

func (n *Node) readView(f *shardfile.File, r viewRequest) ([]viewRow, error) {
	funs := map[string]*mapFun{}
	for name, def := range r.Views {
		if fun, err := parseMapFun(def.Map); err == nil {
			funs[name] = fun // unsupported functions index nothing
		}
	}
	path := n.viewPath(r.Shard, signature(r.Views))
	x := n.views.get(path)
	x.mu.Lock()
	defer x.mu.Unlock()
	if err := x.update(n, path, f, funs); err != nil {
		return nil, err
	}
	out := []viewRow{}
	for _, rows := range x.rows {
		for _, row := range rows {
			if row.View == r.View {
				out = append(out, row)
			}
		}
	}
	return out, nil
}

// view answers GET and POST of /{db}/_design/{ddoc}/_view/{name}.
func (n *Node) view(w http.ResponseWriter, r *http.Request, m *shardMap, ddoc, name string) error {
	d, err := n.fetch(r.Context(), m, ddoc, false, false)
	if err != nil {
		return err
	}
	if d == nil || d.Leaves[0].Deleted {
		return errMissing
	}
	var def struct {
		Views map[string]viewDef `json:"views"`
	}
	if err := json.Unmarshal(d.Leaves[0].Body, &def); err != nil {
		return fail(http.StatusBadRequest, "invalid_design_doc", err.Error())
	}
	v, ok := def.Views[name]
	if !ok {
		return fail(http.StatusNotFound, "not_found", "missing_named_view")
	}
	q, err := readViewQuery(r)
	if err != nil {
		return err
	}
	answers, err := gather[[]viewRow](r.Context(), n, m, "view", func(s shard) viewRequest {
		return viewRequest{Shard: s.Name, Views: def.Views, View: name}
	})
	if err != nil {
		return err
	}
	rows := slices.Concat(answers...)
	slices.SortFunc(rows, func(a, b viewRow) int {
		if c := collate(a.Key, b.Key); c != 0 {
			return c
		}
		return strings.Compare(a.ID, b.ID)
	})
	total := len(rows)
	rows = q.choose(rows)
	if v.Reduce != "" && q.is("reduce", true) {
		return reply(w, http.StatusOK, map[string]any{"rows": q.page(q.reduce(rows, v.Reduce))})
	}
	out := []any{}
	for _, row := range rows {
		o := map[string]any{"id": row.ID, "key": row.Key, "value": row.Value}
		if q.docs {
			if d, err := n.fetch(r.Context(), m, row.ID, false, false); err == nil && d != nil {
				o["doc"] = d.render(&d.Leaves[0], docOptions{})
			}
		}
		out = append(out, o)
	}
	skip := min(q.skip, len(out))
	return reply(w, http.StatusOK, map[string]any{"total_rows": total, "offset": skip, "rows": q.page(out)})
}

type viewQuery struct {
	query
	keys        []any
	start, end  any
	from, to    bool
	skip, limit int
	docs        bool
}

func readViewQuery(r *http.Request) (*viewQuery, error) {
	q := &viewQuery{query: query{r.URL.Query()}}
	var err error
	if r.Method == http.MethodPost {
		var in struct{ Keys []any }
		if err := readJSON(r, &in); err != nil {
			return nil, err
		}
		q.keys = in.Keys
	}
	key, one, err := q.json("key")
	if err != nil {
		return nil, err
	}
	if one {
		q.keys = []any{key}
	}
	if list, ok, err := q.json("keys"); err != nil {
		return nil, err
	} else if ok {
		q.keys, _ = list.([]any)
	}
	if q.start, q.from, err = q.json("startkey", "start_key"); err != nil {
		return nil, err
	}
	if q.end, q.to, err = q.json("endkey", "end_key"); err != nil {
		return nil, err
	}
	if q.skip, err = q.number("skip", 0); err != nil {
		return nil, err
	}
	q.limit, err = q.number("limit", 1<<40)
	q.docs = q.is("include_docs", false)
	return q, err
}

// choose keeps the rows asked for, in the order asked for.
func (q *viewQuery) choose(rows []viewRow) []viewRow {
	if q.keys != nil {
		var out []viewRow
		for _, k := range q.keys {
			for _, row := range rows {
				if collate(row.Key, k) == 0 {
					out = append(out, row)
				}
			}
		}
		return out
	}
	down := q.is("descending", false)
	if down {
		slices.Reverse(rows)
	}
	return slices.DeleteFunc(rows, func(row viewRow) bool {
		a, b := collate(row.Key, q.start), collate(row.Key, q.end)
		if down {
			a, b = -a, -b
		}
		return q.from && a < 0 || q.to && (b > 0 || b == 0 && !q.is("inclusive_end", true))
	})
}

func (q *viewQuery) reduce(rows []viewRow, how string) []any {
	group := q.is("group", false)
	out := []any{}
	value := 0.0
	flush := func(key any) { out = append(out, map[string]any{"key": key, "value": value}) }
	for i, row := range rows {
		if group && i > 0 && collate(rows[i-1].Key, row.Key) != 0 {
			flush(rows[i-1].Key)
			value = 0
		}
		if how == "_sum" {
			f, _ := row.Value.(float64) // CouchDB would refuse what is no number
			value += f
		} else {
			value++
		}
	}
	if len(rows) > 0 {
		var key any
		if group {
			key = rows[len(rows)-1].Key
		}
		flush(key)
	}
	return out
}

func (q *viewQuery) page(rows []any) []any {
	rows = rows[min(q.skip, len(rows)):]
	return rows[:min(q.limit, len(rows))]
}
