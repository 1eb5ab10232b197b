package node

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/medic/cht-backup/integration/couchdb/standin/dist"
	"github.com/medic/cht-backup/integration/couchdb/standin/shardfile"
)

var dbName = regexp.MustCompile(`^[a-z][a-z0-9_$()+/-]*$`)

var errNoDB = fail(http.StatusNotFound, "not_found", "Database does not exist.")

// gather asks every shard; one that is lost stops the whole.
func gather[Resp, Req any](ctx context.Context, n *Node, m *shardMap, method string, req func(shard) Req) ([]Resp, error) {
	out := make([]Resp, len(m.shards))
	errs := make([]error, len(m.shards))
	var wg sync.WaitGroup
	for i, s := range m.shards {
		wg.Go(func() { out[i], errs[i] = call[Resp](ctx, n, s.Node, method, req(s)) })
	}
	wg.Wait()
	for _, err := range errs {
		if errors.Is(err, dist.ErrDown) {
			return nil, errNodeDown
		}
		if err != nil {
			return nil, err
		}
	}
	return out, nil
}

func sizes(in shardfile.Info) map[string]int64 {
	return map[string]int64{"file": in.File, "external": in.External, "active": in.External}
}

func (n *Node) dbInfo(ctx context.Context, db string) (map[string]any, error) {
	m := n.maps.get(db)
	if m == nil {
		return nil, errNoDB
	}
	infos, err := gather[shardfile.Info](ctx, n, m, "info", func(s shard) shardRequest { return shardRequest{s.Name} })
	if err != nil {
		return nil, err
	}
	var sum shardfile.Info
	pos, zero := make([]position, len(infos)), make([]position, len(infos))
	for i, in := range infos {
		sum.Live += in.Live
		sum.Deleted += in.Deleted
		sum.File += in.File
		sum.External += in.External
		pos[i] = position{in.Seq, in.UUID}
		zero[i] = position{0, in.UUID}
	}
	return map[string]any{
		"db_name": db, "doc_count": sum.Live, "doc_del_count": sum.Deleted, "update_seq": m.token(pos), "purge_seq": m.token(zero),
		"instance_start_time": m.created(), "sizes": sizes(sum), "props": map[string]any{}, "disk_format_version": 8, "compact_running": false,
		"cluster": map[string]int{"q": len(m.shards), "n": 1, "w": 1, "r": 1},
	}, nil
}

// createDB makes the shards on every member and then the map. Members that are
// lost get their part of the map all the same: 202, and a broken database.
func (n *Node) createDB(ctx context.Context, db string, q int) (status int, err error) {
	if !dbName.MatchString(db) && !isSystemDB(db) {
		return 0, fail(http.StatusBadRequest, "illegal_database_name", "Name: '"+db+"'. Only lowercase characters (a-z), digits (0-9), and any of the characters _, $, (, ), +, -, and / are allowed. Must begin with a letter.")
	}
	exists := fail(http.StatusPreconditionFailed, "file_exists", "The database could not be created, the file already exists.")
	if n.maps.get(db) != nil {
		return 0, exists
	}
	doc := newMap(q, n.members(), n.maps.suffix())
	body, err := json.Marshal(doc)
	if err != nil {
		return 0, err
	}
	m, err := parseMap(db, body)
	if err != nil {
		return 0, err
	}
	status = http.StatusCreated
	errs := make([]error, len(m.shards))
	var wg sync.WaitGroup
	for i, s := range m.shards {
		wg.Go(func() { _, errs[i] = call[none](ctx, n, s.Node, "create", shardRequest{s.Name}) })
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil && !lost(err) {
			return 0, err
		}
		if err != nil {
			status = http.StatusAccepted
		}
	}
	if err := n.putMap(db, doc); err != nil {
		return 0, exists // two creations at once: the other one won
	}
	return status, nil
}

func (n *Node) deleteDB(ctx context.Context, db string) error {
	m := n.maps.get(db)
	d := n.dbs.Memory(db)
	if m == nil || d == nil {
		return errNoDB
	}
	if r := n.dbs.Update([]shardfile.Edit{{ID: db, Rev: d.Winner().Rev(), Deleted: true, Body: []byte("{}")}})[0]; r.Err != nil {
		return editError(r.Err)
	}
	n.push("_dbs", n.dbs, []string{db}) // each node removes its own files
	return nil
}

// dbAPI answers requests about one database.
func (n *Node) dbAPI(w http.ResponseWriter, r *http.Request, parts []string, u *user) error {
	db := parts[0]
	if len(parts) == 1 {
		switch r.Method {
		case http.MethodPut:
			return n.putDB(w, r, db, u)
		case http.MethodDelete:
			if !u.admin() {
				return errNotAdmin
			}
			if err := n.deleteDB(r.Context(), db); err != nil {
				return err
			}
			return reply(w, http.StatusOK, map[string]any{"ok": true})
		}
	}
	m := n.maps.get(db)
	if m == nil {
		return errNoDB
	}
	if err := n.anyShard(r.Context(), m); err != nil {
		return err
	}
	if !u.admin() {
		if err := n.admit(r, m, parts, u); err != nil {
			return err
		}
	}
	if len(parts) == 1 {
		return n.oneDB(w, r, m)
	}
	if len(parts) > 2 && (parts[1] == "_design" || parts[1] == "_local") {
		parts = append([]string{db, parts[1] + "/" + parts[2]}, parts[3:]...)
	}
	switch parts[1] {
	case "_all_docs", "_design_docs", "_local_docs":
		return n.allDocs(w, r, m)
	case "_bulk_docs":
		return n.bulkDocs(w, r, m)
	case "_bulk_get":
		return n.bulkGet(w, r, m)
	case "_revs_diff":
		return n.revsDiff(w, r, m)
	case "_changes":
		return n.changes(w, r, m)
	case "_shards":
		return n.shardsOf(w, m, parts)
	case "_security", "_revs_limit":
		return n.property(w, r, m, parts[1], u)
	case "_compact":
		if !u.admin() {
			return errNotAdmin
		}
		if len(parts) == 2 {
			if _, err := gather[none](r.Context(), n, m, "compact", func(s shard) shardRequest { return shardRequest{s.Name} }); err != nil {
				return err
			}
		}
		return reply(w, http.StatusAccepted, map[string]any{"ok": true})
	case "_view_cleanup":
		return reply(w, http.StatusAccepted, map[string]any{"ok": true})
	case "_ensure_full_commit":
		return reply(w, http.StatusCreated, map[string]any{"ok": true, "instance_start_time": m.created()})
	}
	return n.docAPI(w, r, m, parts[1], parts[2:])
}

// admit checks a user who is no admin. In _users everyone sees but himself nobody.
func (n *Node) admit(r *http.Request, m *shardMap, parts []string, u *user) error {
	if m.db == "_users" {
		if u != nil && len(parts) == 2 && parts[1] == "org.couchdb.user:"+u.Name {
			return nil
		}
		return errNotMember
	}
	sec, err := call[json.RawMessage](r.Context(), n, m.shards[0].Node, "prop", propRequest{Shard: m.shards[0].Name, Key: "_security"})
	if err != nil {
		return err
	}
	if string(sec) == "null" {
		sec = nil
	}
	if !mayRead(u, sec) {
		return errNotMember
	}
	return nil
}

func (n *Node) putDB(w http.ResponseWriter, r *http.Request, db string, u *user) error {
	if !u.admin() {
		return errNotAdmin
	}
	conf, _ := n.conf.Get("cluster", "q")
	def, err := strconv.Atoi(conf)
	if err != nil || def < 1 {
		def = 12
	}
	q, err := query{r.URL.Query()}.number("q", def)
	if err != nil {
		return err
	}
	if q < 1 || q > 256 {
		return fail(http.StatusBadRequest, "bad_request", "The `q` parameter should be a positive integer.")
	}
	status, err := n.createDB(r.Context(), db, q)
	if err != nil {
		return err
	}
	w.Header().Set("Location", "/"+db)
	return reply(w, status, map[string]any{"ok": true})
}

func (n *Node) oneDB(w http.ResponseWriter, r *http.Request, m *shardMap) error {
	switch r.Method {
	case http.MethodGet, http.MethodHead:
		info, err := n.dbInfo(r.Context(), m.db)
		if err != nil {
			return err
		}
		return reply(w, http.StatusOK, info)
	case http.MethodPost:
		return n.postDoc(w, r, m)
	}
	return errMethod("DELETE,GET,HEAD,POST")
}

func (n *Node) shardsOf(w http.ResponseWriter, m *shardMap, parts []string) error {
	if len(parts) == 3 {
		s, err := m.of(parts[2])
		if err != nil {
			return err
		}
		return reply(w, http.StatusOK, map[string]any{"range": s.Range, "nodes": []string{s.Node}})
	}
	shards := map[string][]string{}
	for _, s := range m.shards {
		shards[s.Range] = append(shards[s.Range], s.Node)
	}
	return reply(w, http.StatusOK, map[string]any{"shards": shards})
}

// property keeps _security and _revs_limit on every shard.
func (n *Node) property(w http.ResponseWriter, r *http.Request, m *shardMap, key string, u *user) error {
	if r.Method == http.MethodGet {
		v, err := call[json.RawMessage](r.Context(), n, m.shards[0].Node, "prop", propRequest{Shard: m.shards[0].Name, Key: key})
		if err != nil && lost(err) {
			return errNodeDown
		}
		if err != nil {
			return err
		}
		if v == nil || string(v) == "null" {
			v = json.RawMessage(`{"members":{"roles":["_admin"]},"admins":{"roles":["_admin"]}}`)
			if key == "_revs_limit" {
				v = json.RawMessage("1000")
			}
		}
		return reply(w, http.StatusOK, v)
	}
	if r.Method != http.MethodPut {
		return errMethod("PUT,GET")
	}
	if !u.admin() {
		return errNotAdmin
	}
	var v json.RawMessage
	if err := readJSON(r, &v); err != nil {
		return err
	}
	if _, err := gather[json.RawMessage](r.Context(), n, m, "prop", func(s shard) propRequest { return propRequest{s.Name, key, v} }); err != nil {
		return err
	}
	return reply(w, http.StatusOK, map[string]any{"ok": true})
}

func isLocalID(id string) bool { return strings.HasPrefix(id, "_local/") }

func reservedID(id string) bool {
	return id == "" || strings.HasPrefix(id, "_") && !isLocalID(id) && !strings.HasPrefix(id, "_design/")
}

func sortedByID(docs []*wireDoc, descending bool) {
	slices.SortFunc(docs, func(a, b *wireDoc) int {
		if descending {
			return strings.Compare(b.ID, a.ID)
		}
		return strings.Compare(a.ID, b.ID)
	})
}
