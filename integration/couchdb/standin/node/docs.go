package node

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strings"
	"sync"

	"github.com/medic/cht-backup/integration/couchdb/standin/dist"
	"github.com/medic/cht-backup/integration/couchdb/standin/shardfile"
)

func (n *Node) fetch(ctx context.Context, m *shardMap, id string, bodies, data bool) (*wireDoc, error) {
	s, err := m.of(id)
	if err != nil {
		return nil, err
	}
	d, err := call[*wireDoc](ctx, n, s.Node, "doc", docRequest{Shard: s.Name, ID: id, Local: isLocalID(id), Bodies: bodies, Data: data})
	if err != nil && lost(err) {
		return nil, errWorkersDied
	}
	return d, err
}

var errMissing, errDeleted = fail(http.StatusNotFound, "not_found", "missing"), fail(http.StatusNotFound, "not_found", "deleted")

// docAPI answers requests about one document, its attachments and views.
func (n *Node) docAPI(w http.ResponseWriter, r *http.Request, m *shardMap, id string, rest []string) error {
	if strings.HasPrefix(id, "_design/") && len(rest) == 2 && rest[0] == "_view" {
		return n.view(w, r, m, id, rest[1])
	}
	if strings.HasPrefix(id, "_design/") && len(rest) == 1 && rest[0] == "_info" {
		return reply(w, http.StatusOK, map[string]any{"name": strings.TrimPrefix(id, "_design/"), "view_index": map[string]any{"updater_running": false}})
	}
	if len(rest) > 0 {
		return n.attachment(w, r, m, id, strings.Join(rest, "/"))
	}
	if reservedID(id) {
		return fail(http.StatusBadRequest, "illegal_docid", "Only reserved document ids may start with underscore.")
	}
	switch r.Method {
	case http.MethodGet, http.MethodHead:
		return n.getDoc(w, r, m, id)
	case http.MethodPut:
		d, err := putDoc(r)
		if err != nil {
			return err
		}
		if d.id != "" && d.id != id {
			return fail(http.StatusBadRequest, "bad_request", "Document ID must match the one in the URL")
		}
		d.id = id
		if rev := givenRev(r); rev != "" {
			d.rev = rev
		}
		return n.storeOne(w, r, m, d)
	case http.MethodDelete:
		return n.storeOne(w, r, m, &docIn{id: id, rev: givenRev(r), deleted: true, body: []byte("{}")})
	}
	return errMethod("DELETE,GET,HEAD,POST,PUT,COPY")
}

func givenRev(r *http.Request) string {
	if rev := r.URL.Query().Get("rev"); rev != "" {
		return rev
	}
	return strings.Trim(r.Header.Get("If-Match"), `"`)
}

func (n *Node) postDoc(w http.ResponseWriter, r *http.Request, m *shardMap) error {
	raw, err := readBody(r)
	if err != nil {
		return err
	}
	d, err := parseDoc(raw)
	if err != nil {
		return err
	}
	if d.id == "" {
		b := make([]byte, 16)
		rand.Read(b) //nolint:errcheck // never fails
		d.id = hex.EncodeToString(b)
	}
	return n.storeOne(w, r, m, d)
}

func (n *Node) storeOne(w http.ResponseWriter, r *http.Request, m *shardMap, d *docIn) error {
	res := n.store(r.Context(), m, []*docIn{d}, r.URL.Query().Get("new_edits") != "false")[0]
	if res.Code != "" {
		return fail(res.Status, res.Code, res.Reason)
	}
	status := http.StatusCreated
	if r.Method == http.MethodDelete {
		status = http.StatusOK
	}
	w.Header().Set("ETag", `"`+res.Rev+`"`)
	return reply(w, status, map[string]any{"ok": true, "id": d.id, "rev": res.Rev})
}

// store sends each document to the owner of its shard, one call a shard.
func (n *Node) store(ctx context.Context, m *shardMap, docs []*docIn, newEdits bool) []updateResult {
	out := make([]updateResult, len(docs))
	refuse := func(i int, err error) {
		var re *dist.RemoteError
		if !errors.As(err, &re) {
			re = &dist.RemoteError{Status: http.StatusInternalServerError, Code: "internal_server_error", Reason: err.Error()}
		}
		out[i] = updateResult{Status: re.Status, Code: re.Code, Reason: re.Reason}
	}
	byShard := map[shard][]int{}
	edits := make([]shardfile.Edit, len(docs))
	for i, d := range docs {
		if err := n.prepare(m, d); err != nil {
			refuse(i, err)
			continue
		}
		e, err := d.edit(newEdits)
		if err != nil {
			refuse(i, err)
			continue
		}
		s, err := m.of(d.id)
		if err != nil {
			refuse(i, err)
			continue
		}
		edits[i] = e
		byShard[s] = append(byShard[s], i)
	}
	var wg sync.WaitGroup
	for s, idx := range byShard {
		wg.Go(func() {
			req := updateRequest{Shard: s.Name}
			for _, i := range idx {
				req.Edits = append(req.Edits, edits[i])
			}
			res, err := call[[]updateResult](ctx, n, s.Node, "update", req)
			if err != nil && lost(err) {
				err = fail(http.StatusServiceUnavailable, "internal_server_error", "all_workers_died")
			}
			for k, i := range idx {
				if err != nil {
					refuse(i, err)
				} else {
					out[i] = res[k]
				}
			}
		})
	}
	wg.Wait()
	return out
}

// prepare checks an id and, in _users, replaces a password by its hash.
func (n *Node) prepare(m *shardMap, d *docIn) error {
	if reservedID(d.id) {
		return fail(http.StatusBadRequest, "illegal_docid", "Only reserved document ids may start with underscore.")
	}
	if m.db != "_users" || d.deleted || !strings.HasPrefix(d.id, "org.couchdb.user:") {
		return nil
	}
	fs, err := fields(d.body)
	if err != nil {
		return err
	}
	i := slices.IndexFunc(fs, func(f field) bool { return f.name == "password" })
	if i < 0 {
		return nil
	}
	var password string
	if err := json.Unmarshal(fs[i].value, &password); err != nil {
		return fail(http.StatusForbidden, "forbidden", "Password must be a string.")
	}
	s, err := newScheme(password, n.iterations())
	if err != nil {
		return err
	}
	replaced := []string{"password", "derived_key", "salt", "pbkdf2_prf", "iterations", "password_scheme"}
	fs = slices.DeleteFunc(fs, func(f field) bool { return slices.Contains(replaced, f.name) })
	iterations, err := json.Marshal(s.iterations)
	if err != nil {
		return err
	}
	fs = append(fs, field{"password_scheme", quote("pbkdf2")}, field{"pbkdf2_prf", quote(s.prf)}, field{"salt", quote(s.salt)},
		field{"iterations", iterations}, field{"derived_key", quote(s.derived)})
	d.body = assemble(fs, nil, nil)
	return nil
}

func (n *Node) getDoc(w http.ResponseWriter, r *http.Request, m *shardMap, id string) error {
	q := query{r.URL.Query()}
	rev := q.Get("rev")
	d, err := n.fetch(r.Context(), m, id, rev != "" || q.Has("open_revs"), q.is("attachments", false))
	if err != nil {
		return err
	}
	if d == nil {
		return errMissing
	}
	if isLocalID(id) {
		return reply(w, http.StatusOK, assemble([]field{{"_id", quote(id)}, {"_rev", quote(d.Rev)}}, d.Local, nil))
	}
	o := docOptions{revs: q.is("revs", false), conflicts: q.is("conflicts", false), attachments: q.is("attachments", false),
		revsInfo: q.is("revs_info", false), localSeq: q.is("local_seq", false)}
	if q.is("meta", false) {
		o.conflicts, o.revsInfo = true, true
	}
	if q.Has("open_revs") {
		return n.openRevs(w, d, q.Get("open_revs"), o)
	}
	l := &d.Leaves[0]
	if rev != "" {
		i := slices.IndexFunc(d.Leaves, func(l wireLeaf) bool { return l.rev() == rev })
		if i < 0 {
			return errMissing
		}
		l = &d.Leaves[i]
	} else if l.Deleted {
		return errDeleted
	}
	w.Header().Set("ETag", `"`+l.rev()+`"`)
	if o.attachments && len(l.Atts) > 0 && strings.Contains(r.Header.Get("Accept"), multipartRelated) {
		return replyMultipart(w, d, l, o)
	}
	return reply(w, http.StatusOK, d.render(l, o))
}

func (n *Node) openRevs(w http.ResponseWriter, d *wireDoc, which string, o docOptions) error {
	out := []map[string]any{}
	if which == "all" {
		for i := range d.Leaves {
			out = append(out, map[string]any{"ok": d.render(&d.Leaves[i], o)})
		}
		return reply(w, http.StatusOK, out)
	}
	var revs []string
	if err := json.Unmarshal([]byte(which), &revs); err != nil {
		return fail(http.StatusBadRequest, "bad_request", "invalid open_revs")
	}
	for _, rev := range revs {
		i := slices.IndexFunc(d.Leaves, func(l wireLeaf) bool { return l.rev() == rev })
		if i < 0 {
			out = append(out, map[string]any{"missing": rev})
			continue
		}
		out = append(out, map[string]any{"ok": d.render(&d.Leaves[i], o)})
	}
	return reply(w, http.StatusOK, out)
}
