package node

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"slices"
	"sort"
	"strings"
	"time"

	"github.com/medic/cht-backup/integration/couchdb/standin/dist"
	"github.com/medic/cht-backup/integration/couchdb/standin/shardfile"
)

// localRequest is a request to one node's own parts: /_node/NAME/....
type localRequest struct {
	Method  string
	Parts   []string
	Query   string
	Persist bool
	Body    []byte
}

type localAnswer struct {
	Status int
	Body   []byte
}

// nodeAPI hands a request to the node it names. Naming a node connects to it.
func (n *Node) nodeAPI(w http.ResponseWriter, r *http.Request, parts []string) error {
	if len(parts) == 1 || parts[1] == "_local" && len(parts) == 2 {
		return reply(w, http.StatusOK, map[string]string{"name": n.set.Name})
	}
	node := parts[1]
	if node == "_local" {
		node = n.set.Name
	}
	body, err := readBody(r)
	if err != nil {
		return err
	}
	a, err := call[localAnswer](r.Context(), n, node, "local", localRequest{Method: r.Method, Parts: parts[2:], Query: r.URL.RawQuery,
		Persist: r.Header.Get("X-Couch-Persist") != "false", Body: body})
	if errors.Is(err, dist.ErrDown) {
		return fail(http.StatusNotFound, "not_found", "no such node: "+node)
	}
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(a.Status)
	if r.Method != http.MethodHead {
		w.Write(a.Body) //nolint:errcheck // the client is gone
	}
	return nil
}

func (n *Node) serveLocal(ctx context.Context, req localRequest) (localAnswer, error) {
	r, err := http.NewRequestWithContext(ctx, req.Method, "/?"+req.Query, strings.NewReader(string(req.Body)))
	if err != nil {
		return localAnswer{}, err
	}
	w := httptest.NewRecorder()
	if err := n.localAPI(w, r, req); err != nil {
		replyError(w, err)
	}
	return localAnswer{w.Code, w.Body.Bytes()}, nil
}

func (n *Node) localAPI(w http.ResponseWriter, r *http.Request, req localRequest) error {
	parts := req.Parts
	if len(parts) == 0 {
		return n.welcome(w)
	}
	switch parts[0] {
	case "_config":
		return n.configAPI(w, r, parts[1:], req)
	case "_all_dbs":
		names, err := n.localDBs()
		if err != nil {
			return err
		}
		return reply(w, http.StatusOK, names)
	case "_system", "_stats":
		return reply(w, http.StatusOK, map[string]any{"uptime": int(time.Since(n.start).Seconds()), "run_queue": 0, "process_count": n.requests.Load()})
	case "_versions":
		return reply(w, http.StatusOK, map[string]any{"erlang": map[string]any{"version": "stand-in"}, "javascript_engine": map[string]string{"name": "stand-in", "version": "0"}})
	case "_nodes":
		return n.localDB(w, r, "_nodes", n.nodes, parts[1:])
	case "_dbs":
		return n.localDB(w, r, "_dbs", n.dbs, parts[1:])
	}
	names, err := n.localDBs()
	if err != nil {
		return err
	}
	if !slices.Contains(names, parts[0]) {
		return fail(http.StatusNotFound, "not_found", "no_db_file")
	}
	f, err := n.openFile(parts[0])
	if err != nil {
		return err
	}
	return n.localDB(w, r, parts[0], f, parts[1:])
}

// localDBs lists the database files that are really on this node's disk.
func (n *Node) localDBs() ([]string, error) {
	names := []string{}
	err := n.slots.Do(func() error {
		return filepath.WalkDir(n.set.DataDir(), func(path string, e fs.DirEntry, err error) error {
			switch {
			case errors.Is(err, fs.ErrNotExist):
				return nil // deleted while we walk
			case err != nil:
				return err
			case e.IsDir() && path != n.set.DataDir() && strings.HasPrefix(e.Name(), "."):
				return fs.SkipDir
			case e.IsDir() || !strings.HasSuffix(path, ".couch"):
				return nil
			}
			rel, err := filepath.Rel(n.set.DataDir(), path)
			names = append(names, strings.TrimSuffix(filepath.ToSlash(rel), ".couch"))
			return err
		})
	})
	slices.Sort(names)
	return names, err
}

// putLocal writes a document of a node-local database.
func (n *Node) putLocal(f *shardfile.File, id string, body []byte, rev string) (string, error) {
	r := f.Update([]shardfile.Edit{{ID: id, Rev: rev, Body: body}})[0]
	return r.Rev, editError(r.Err)
}

// localDB is the old single-node interface on one file.
func (n *Node) localDB(w http.ResponseWriter, r *http.Request, name string, f *shardfile.File, parts []string) error {
	if len(parts) == 0 {
		in := f.Info()
		return reply(w, http.StatusOK, map[string]any{"db_name": name, "doc_count": in.Live, "doc_del_count": in.Deleted, "update_seq": in.Seq,
			"purge_seq": 0, "compact_running": false, "sizes": sizes(in), "disk_format_version": 8, "uuid": in.UUID, "instance_start_time": "0"})
	}
	switch parts[0] {
	case "_all_docs":
		return n.localAllDocs(w, r, f)
	case "_bulk_docs":
		return n.localBulk(w, r, f)
	}
	id := strings.Join(parts, "/")
	d := f.Doc(id)
	switch r.Method {
	case http.MethodGet, http.MethodHead:
		if d == nil {
			return fail(http.StatusNotFound, "not_found", "missing")
		}
		if d.Winner().Deleted {
			return fail(http.StatusNotFound, "not_found", "deleted")
		}
		body, err := f.Body(d, d.Winner())
		if err != nil {
			return err
		}
		return reply(w, http.StatusOK, withIDRev(id, d.Winner().Rev(), body))
	case http.MethodPut:
		raw, err := readBody(r)
		if err != nil {
			return err
		}
		in, err := parseDoc(raw)
		if err != nil {
			return err
		}
		if in.rev == "" {
			in.rev = r.URL.Query().Get("rev")
		}
		if err := n.validMap(f, in); err != nil {
			return err
		}
		rev, err := n.putLocal(f, id, in.body, in.rev)
		if err != nil {
			return err
		}
		return reply(w, http.StatusCreated, map[string]any{"ok": true, "id": id, "rev": rev})
	case http.MethodDelete:
		res := f.Update([]shardfile.Edit{{ID: id, Rev: r.URL.Query().Get("rev"), Deleted: true, Body: []byte("{}")}})[0]
		if res.Err != nil {
			return editError(res.Err)
		}
		return reply(w, http.StatusOK, map[string]any{"ok": true, "id": id, "rev": res.Rev})
	}
	return errMethod("DELETE,GET,HEAD,PUT")
}

func (n *Node) localAllDocs(w http.ResponseWriter, r *http.Request, f *shardfile.File) error {
	f.Info() // takes its turn at the disk
	q := query{r.URL.Query()}
	docs, ids := q.is("include_docs", false), f.IDs()
	all, offset := len(ids), 0
	if start, ok, err := q.json("startkey", "start_key"); err != nil {
		return err
	} else if s, isString := start.(string); ok && isString {
		offset = sort.SearchStrings(ids, s)
	}
	limit, err := q.number("limit", all)
	if err != nil {
		return err
	}
	ids = ids[offset:]
	rows := []any{}
	for _, id := range ids[:min(len(ids), limit)] {
		d := f.Memory(id)
		rev := d.Winner().Rev()
		row := map[string]any{"id": id, "key": id, "value": map[string]string{"rev": rev}}
		if docs {
			body, err := f.Body(d, d.Winner())
			if err != nil {
				return err
			}
			row["doc"] = withIDRev(id, rev, body)
		}
		rows = append(rows, row)
	}
	return reply(w, http.StatusOK, map[string]any{"total_rows": all, "offset": offset, "rows": rows})
}

func withIDRev(id, rev string, body []byte) json.RawMessage {
	return assemble([]field{{"_id", quote(id)}, {"_rev", quote(rev)}}, body, nil)
}

// configAPI reads and changes this node's configuration.
func (n *Node) configAPI(w http.ResponseWriter, r *http.Request, parts []string, req localRequest) error {
	unknown := fail(http.StatusNotFound, "not_found", "unknown_config_value")
	for i, p := range parts {
		if s, err := url.PathUnescape(p); err == nil && i == 0 {
			parts[i] = s
		}
	}
	switch {
	case len(parts) == 0:
		return reply(w, http.StatusOK, n.conf.All())
	case len(parts) == 1 && parts[0] == "_reload":
		return reply(w, http.StatusOK, map[string]any{"ok": true})
	case len(parts) == 1:
		s := n.conf.Section(parts[0])
		if s == nil {
			s = map[string]string{}
		}
		return reply(w, http.StatusOK, s)
	case len(parts) != 2:
		return unknown
	}
	section, key := parts[0], parts[1]
	switch r.Method {
	case http.MethodGet:
		v, ok := n.conf.Get(section, key)
		if !ok {
			return unknown
		}
		return reply(w, http.StatusOK, v)
	case http.MethodPut:
		var v string
		if err := readJSON(r, &v); err != nil {
			return err
		}
		old, _, err := n.conf.Set(section, key, &v, req.Persist)
		if err != nil {
			return err
		}
		if section == "admins" {
			if err := n.setAdmin(key, v, req.Persist); err != nil {
				return err
			}
			n.auth.forget(key)
		}
		return reply(w, http.StatusOK, old)
	case http.MethodDelete:
		old, existed, err := n.conf.Set(section, key, nil, req.Persist)
		if err != nil {
			return err
		}
		if !existed {
			return unknown
		}
		return reply(w, http.StatusOK, old)
	}
	return errMethod("DELETE,GET,PUT")
}
