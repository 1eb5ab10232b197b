package node

import (
	"encoding/json"
	"net/http"

	"github.com/medic/cht-backup/integration/couchdb/standin/shardfile"
)

// validMap is all that CouchDB checks of a shard map.
func (n *Node) validMap(f *shardfile.File, d *docIn) error {
	if f != n.dbs || d.deleted {
		return nil
	}
	fs, err := fields(d.body)
	if err != nil {
		return err
	}
	have := map[string]bool{}
	for _, f := range fs {
		have[f.name] = true
	}
	for _, name := range []string{"by_node", "by_range"} {
		if !have[name] {
			return fail(http.StatusForbidden, "forbidden", name+" is mandatory")
		}
	}
	return nil
}

// localBulk writes many documents of a node-local database in one go. One
// invalid document refuses all; a conflict is that document's alone.
func (n *Node) localBulk(w http.ResponseWriter, r *http.Request, f *shardfile.File) error {
	if r.Method != http.MethodPost {
		return errMethod("POST")
	}
	var in struct{ Docs []json.RawMessage }
	if err := readJSON(r, &in); err != nil {
		return err
	}
	edits := make([]shardfile.Edit, 0, len(in.Docs))
	for _, raw := range in.Docs {
		d, err := parseDoc(raw)
		if err == nil {
			err = n.validMap(f, d)
		}
		if err != nil {
			return err
		}
		edits = append(edits, shardfile.Edit{ID: d.id, Rev: d.rev, Deleted: d.deleted, Body: d.body})
	}
	results, err := updateShard(f, updateRequest{Edits: edits})
	if err != nil {
		return err
	}
	out := make([]map[string]any, len(results))
	for i, res := range results {
		out[i] = map[string]any{"ok": true, "id": edits[i].ID, "rev": res.Rev}
		if res.Code != "" {
			out[i] = map[string]any{"id": edits[i].ID, "error": res.Code, "reason": res.Reason}
		}
	}
	return reply(w, http.StatusCreated, out)
}
