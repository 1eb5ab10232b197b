package node

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"slices"
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
	results := []any{}
	for _, want := range in.Docs {
		d, err := n.fetch(r.Context(), m, want.ID, true, o.attachments)
		if err != nil {
			return err
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
