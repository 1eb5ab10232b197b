package node

import (
	"net/http"
	"slices"
	"strconv"

	"github.com/medic/cht-backup/integration/couchdb/standin/shardfile"
)

// attachment answers PUT, GET and DELETE of one attachment by itself.
func (n *Node) attachment(w http.ResponseWriter, r *http.Request, m *shardMap, id, name string) error {
	reading := r.Method == http.MethodGet || r.Method == http.MethodHead
	d, err := n.fetch(r.Context(), m, id, true, reading)
	if err != nil {
		return err
	}
	rev := givenRev(r)
	var l *wireLeaf
	if d != nil {
		l = &d.Leaves[0]
		if rev != "" {
			i := slices.IndexFunc(d.Leaves, func(l wireLeaf) bool { return l.rev() == rev })
			if l = nil; i >= 0 {
				l = &d.Leaves[i]
			}
		}
	}
	if reading {
		if l == nil || l.Deleted {
			return errMissing
		}
		for _, a := range l.Atts {
			if a.Name == name {
				w.Header().Set("Content-Type", a.Type)
				w.Header().Set("ETag", `"`+a.Digest[4:]+`"`)
				w.Header().Set("Content-Length", strconv.FormatInt(a.Len, 10))
				w.Write(a.Data) //nolint:errcheck // the client is gone
				return nil
			}
		}
		return fail(http.StatusNotFound, "not_found", "Document is missing attachment")
	}
	in := &docIn{id: id, rev: rev, body: []byte("{}")}
	if l != nil {
		in.body = l.Body
		for _, a := range l.Atts {
			if a.Name != name {
				in.atts = append(in.atts, shardfile.AttIn{Name: a.Name, Stub: true})
			}
		}
	}
	if r.Method == http.MethodPut {
		data, err := readBody(r)
		if err != nil {
			return err
		}
		ct := r.Header.Get("Content-Type")
		if ct == "" {
			ct = "application/octet-stream"
		}
		in.atts = append(in.atts, shardfile.AttIn{Name: name, Type: ct, Data: data})
	} else if r.Method != http.MethodDelete {
		return errMethod("DELETE,GET,HEAD,PUT")
	}
	return n.storeOne(w, r, m, in)
}
