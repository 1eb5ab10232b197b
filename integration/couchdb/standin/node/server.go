package node

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"net/http"
	"slices"
	"sync"
)

func (n *Node) welcome(w http.ResponseWriter) error {
	uuid, _ := n.conf.Get("couchdb", "uuid")
	return reply(w, http.StatusOK, map[string]any{
		"couchdb": "Welcome", "version": Version, "git_sha": "stand-in", "uuid": uuid,
		"features": []string{"access-ready", "partitioned", "pluggable-storage-engines", "reshard", "scheduler"},
		"vendor":   map[string]string{"name": "cht-backup stand-in"},
	})
}

// serverAPI answers what is not about one database.
func (n *Node) serverAPI(w http.ResponseWriter, r *http.Request, parts []string, u *user) error {
	switch parts[0] {
	case "_up":
		return n.up(w)
	case "_session":
		return n.session(w, r, u)
	case "_membership":
		return reply(w, http.StatusOK, map[string]any{"all_nodes": n.allNodes(), "cluster_nodes": n.members()})
	case "_uuids":
		return n.uuids(w, r)
	}
	if !u.admin() {
		return errNotAdmin
	}
	switch parts[0] {
	case "_all_dbs":
		return n.allDBs(w, r)
	case "_dbs_info":
		return n.dbsInfo(w, r)
	case "_node":
		return n.nodeAPI(w, r, parts)
	case "_cluster_setup":
		return n.clusterSetup(w, r)
	case "_dbs", "_nodes": // node-local databases answer by their plain names too
		return n.nodeAPI(w, r, append([]string{"_node", "_local"}, parts...))
	case "_active_tasks":
		return reply(w, http.StatusOK, []any{})
	}
	return fail(http.StatusNotFound, "not_found", "missing")
}

// up knows the mode and nothing else: not the disk, not the shards.
func (n *Node) up(w http.ResponseWriter) error {
	switch n.maintenance() {
	case "true":
		return reply(w, http.StatusNotFound, map[string]any{"status": "maintenance_mode"})
	case "nolb":
		return reply(w, http.StatusNotFound, map[string]any{"status": "nolb"})
	}
	return reply(w, http.StatusOK, map[string]any{"status": "ok", "seeds": map[string]any{}})
}

func (n *Node) uuids(w http.ResponseWriter, r *http.Request) error {
	count, err := query{r.URL.Query()}.number("count", 1)
	if err != nil {
		return err
	}
	out := make([]string, min(count, 1000))
	for i := range out {
		b := make([]byte, 16)
		rand.Read(b) //nolint:errcheck // never fails
		out[i] = hex.EncodeToString(b)
	}
	return reply(w, http.StatusOK, map[string]any{"uuids": out})
}

func (n *Node) allDBs(w http.ResponseWriter, r *http.Request) error {
	if n.maintained() {
		return n.inMaintenance()
	}
	n.dbs.Info() // it is a read of _dbs: on a stalled disk it waits
	q := query{r.URL.Query()}
	names := n.maps.names()
	if v, ok, err := q.json("startkey", "start_key"); err != nil {
		return err
	} else if s, isString := v.(string); ok && isString {
		names = slices.DeleteFunc(names, func(db string) bool { return db < s })
	}
	if v, ok, err := q.json("endkey", "end_key"); err != nil {
		return err
	} else if s, isString := v.(string); ok && isString {
		names = slices.DeleteFunc(names, func(db string) bool { return db > s })
	}
	if q.is("descending", false) {
		slices.Reverse(names)
	}
	skip, err := q.number("skip", 0)
	if err != nil {
		return err
	}
	limit, err := q.number("limit", len(names))
	if err != nil {
		return err
	}
	names = names[min(skip, len(names)):]
	return reply(w, http.StatusOK, names[:min(limit, len(names))])
}

const maxDBsInfo = 100

func (n *Node) dbsInfo(w http.ResponseWriter, r *http.Request) error {
	// Asked for by name, a database that cannot be read "is not found", be it
	// for a node in maintenance: no proof that it does not exist.
	var in struct{ Keys []string }
	if r.Method == http.MethodGet {
		if n.maintained() {
			return n.inMaintenance()
		}
		in.Keys = n.maps.names()
	} else if err := readJSON(r, &in); err != nil {
		return err
	}
	if r.Method == http.MethodPost && in.Keys == nil {
		return fail(http.StatusBadRequest, "bad_request", "`keys` member must exist.")
	}
	if r.Method == http.MethodPost && len(in.Keys) > maxDBsInfo {
		return fail(http.StatusBadRequest, "bad_request", "too_many_keys")
	}
	out := make([]map[string]any, len(in.Keys))
	busy := make(chan struct{}, 8)
	var wg sync.WaitGroup
	for i, db := range in.Keys {
		wg.Go(func() {
			busy <- struct{}{}
			defer func() { <-busy }()
			info, err := n.dbInfo(r.Context(), db)
			if err != nil {
				out[i] = map[string]any{"key": db, "error": "not_found"}
				return
			}
			out[i] = map[string]any{"key": db, "info": info}
		})
	}
	wg.Wait()
	return reply(w, http.StatusOK, out)
}

// clusterSetup answers as a CHT image does: it has admins and binds to all
// addresses, so for CouchDB it is set up from its first second.
func (n *Node) clusterSetup(w http.ResponseWriter, r *http.Request) error {
	if r.Method == http.MethodGet {
		state := "cluster_enabled"
		if n.maps.get("_users") != nil && n.maps.get("_replicator") != nil {
			state = "cluster_finished"
		}
		return reply(w, http.StatusOK, map[string]string{"state": state})
	}
	var in struct{ Action, Host string }
	if err := readJSON(r, &in); err != nil {
		return err
	}
	switch in.Action {
	case "enable_cluster":
		return fail(http.StatusBadRequest, "bad_request", "Cluster is already enabled")
	case "add_node":
		rev, err := n.putLocal(n.nodes, "couchdb@"+in.Host, []byte("{}"), "")
		if err != nil {
			return err
		}
		return reply(w, http.StatusCreated, map[string]any{"ok": true, "rev": rev})
	case "finish_cluster":
		return fail(http.StatusInternalServerError, "setup_error", "Cluster setup unable to sync admin passwords")
	}
	return fail(http.StatusBadRequest, "bad_request", "Invalid Action'")
}

// anyShard is what every database request starts with: some shard of it must
// open. It asks, and so connects to, whatever node the map names.
func (n *Node) anyShard(ctx context.Context, m *shardMap) error {
	nodes := map[string]bool{}
	for _, s := range m.shards {
		nodes[s.Node] = true
	}
	if nodes[n.set.Name] && !n.maintained() {
		// The others are asked only when this node has no shard of it.
		return nil
	}
	for _, node := range append(n.mesh.Connected(), keys(nodes)...) {
		if node == n.set.Name || !nodes[node] {
			continue
		}
		if _, err := call[none](ctx, n, node, "ping", none{}); err == nil {
			return nil
		}
	}
	return errNoShards
}

func keys(m map[string]bool) []string {
	out := make([]string, 0, len(m))
	for k := range m {
		out = append(out, k)
	}
	slices.Sort(out)
	return out
}
