package node

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

func (n *Node) bulkDocs(w http.ResponseWriter, r *http.Request, m *shardMap) error {
	if r.Method != http.MethodPost {
		return errMethod("POST")
	}
	var in struct {
		Docs     []json.RawMessage `json:"docs"`
		NewEdits *bool             `json:"new_edits"`
	}
	if err := readJSON(r, &in); err != nil {
		return err
	}
	if in.Docs == nil {
		return fail(http.StatusBadRequest, "bad_request", "POST body must include `docs` parameter.")
	}
	docs := make([]*docIn, len(in.Docs))
	for i, raw := range in.Docs {
		d, err := parseDoc(raw)
		if err != nil {
			return err
		}
		if d.id == "" {
			b := make([]byte, 16)
			rand.Read(b) //nolint:errcheck // never fails
			d.id = hex.EncodeToString(b)
		}
		docs[i] = d
	}
	newEdits := in.NewEdits == nil || *in.NewEdits
	out := []map[string]any{}
	for i, res := range n.store(r.Context(), m, docs, newEdits) {
		switch {
		case res.Code != "":
			row := map[string]any{"id": docs[i].id, "error": res.Code, "reason": res.Reason}
			if !newEdits {
				row["rev"] = docs[i].rev
			}
			out = append(out, row)
		case newEdits:
			out = append(out, map[string]any{"ok": true, "id": docs[i].id, "rev": res.Rev})
		}
	}
	return reply(w, http.StatusCreated, out)
}

func (n *Node) bulkGet(w http.ResponseWriter, r *http.Request, m *shardMap) error {
	if r.Method != http.MethodPost {
		return errMethod("POST")
	}
	var in struct {
		Docs []struct{ ID, Rev string }
	}
	if err := readJSON(r, &in); err != nil {
		return err
	}
	q := query{r.URL.Query()}
	o := docOptions{revs: q.is("revs", false), attachments: q.is("attachments", false)}
	results, ids := []any{}, make([]string, len(in.Docs))
	for i, want := range in.Docs {
		ids[i] = want.ID
	}
	found, errs := n.fetchAll(r.Context(), m, ids, true, o.attachments)
	for i, want := range in.Docs {
		d := found[i]
		if errs[i] != nil {
			return errs[i]
		}
		var l *wireLeaf
		if d != nil && want.Rev == "" {
			l = &d.Leaves[0]
		} else if d != nil {
			if i := slices.IndexFunc(d.Leaves, func(l wireLeaf) bool { return l.rev() == want.Rev }); i >= 0 {
				l = &d.Leaves[i]
			}
		}
		var doc any
		if l == nil {
			rev := want.Rev
			if rev == "" {
				rev = "undefined"
			}
			doc = map[string]any{"error": map[string]string{"id": want.ID, "rev": rev, "error": "not_found", "reason": "missing"}}
		} else {
			doc = map[string]any{"ok": d.render(l, o)}
		}
		results = append(results, map[string]any{"id": want.ID, "docs": []any{doc}})
	}
	return reply(w, http.StatusOK, map[string]any{"results": results})
}

// revsDiff tells which of the named revisions the database does not have, neither
// as a leaf nor in a leaf's history.
func (n *Node) revsDiff(w http.ResponseWriter, r *http.Request, m *shardMap) error {
	if r.Method != http.MethodPost {
		return errMethod("POST")
	}
	var in map[string][]string
	if err := readJSON(r, &in); err != nil {
		return err
	}
	out, ids := map[string]any{}, slices.Sorted(maps.Keys(in))
	found, errs := n.fetchAll(r.Context(), m, ids, true, false)
	for i, id := range ids {
		d, revs := found[i], in[id]
		if errs[i] != nil {
			return errs[i]
		}
		known := map[string]bool{}
		if d != nil {
			for _, l := range d.Leaves {
				for i, hash := range l.Path {
					known[strconv.Itoa(l.Pos-i)+"-"+hash] = true
				}
			}
		}
		var missing []string
		for _, rev := range revs {
			if !strings.Contains(rev, "-") {
				return fail(http.StatusBadRequest, "bad_request", "Invalid rev format")
			}
			if !known[rev] {
				missing = append(missing, rev)
			}
		}
		if missing != nil {
			out[id] = map[string]any{"missing": missing}
		}
	}
	return reply(w, http.StatusOK, out)
}
