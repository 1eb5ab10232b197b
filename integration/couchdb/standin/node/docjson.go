package node

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/medic/cht-backup/integration/couchdb/standin/shardfile"
)

// field is one member of a JSON object; documents keep their order.
type field struct {
	name  string
	value json.RawMessage
}

func fields(raw []byte) ([]field, error) {
	dec := json.NewDecoder(bytes.NewReader(raw))
	t, err := dec.Token()
	if err != nil || t != json.Delim('{') {
		return nil, fail(http.StatusBadRequest, "bad_request", "Document must be a JSON object")
	}
	var out []field
	for dec.More() {
		name, err := dec.Token()
		if err != nil {
			return nil, fail(http.StatusBadRequest, "bad_request", "invalid UTF-8 JSON")
		}
		var v json.RawMessage
		if err := dec.Decode(&v); err != nil {
			return nil, fail(http.StatusBadRequest, "bad_request", "invalid UTF-8 JSON")
		}
		out = append(out, field{name.(string), v})
	}
	if _, err := dec.Token(); err != nil {
		return nil, fail(http.StatusBadRequest, "bad_request", "invalid UTF-8 JSON")
	}
	return out, nil
}

// assemble writes an object: head, then the members of body, then tail.
func assemble(head []field, body []byte, tail []field) json.RawMessage {
	var b bytes.Buffer
	b.WriteByte('{')
	put := func(fs []field) {
		for _, f := range fs {
			if b.Len() > 1 {
				b.WriteByte(',')
			}
			b.Write(quote(f.name))
			b.WriteByte(':')
			b.Write(f.value)
		}
	}
	put(head)
	if inner := bytes.TrimSpace(body); len(inner) > 2 && inner[0] == '{' {
		if b.Len() > 1 {
			b.WriteByte(',')
		}
		b.Write(inner[1 : len(inner)-1])
	}
	put(tail)
	b.WriteByte('}')
	return b.Bytes()
}

func quote(s string) json.RawMessage {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(s) // a string always encodes
	return bytes.TrimSpace(b.Bytes())
}

// docIn is a document as a client sent it.
type docIn struct {
	id, rev string
	deleted bool
	pos     int
	path    []string
	atts    []shardfile.AttIn
	body    []byte
}

func parseDoc(raw []byte) (*docIn, error) {
	fs, err := fields(raw)
	if err != nil {
		return nil, err
	}
	d := &docIn{}
	bad := func(err error) error {
		return fail(http.StatusBadRequest, "bad_request", err.Error())
	}
	var rest []field
	for _, f := range fs {
		if !strings.HasPrefix(f.name, "_") {
			var c bytes.Buffer
			if err := json.Compact(&c, f.value); err != nil {
				return nil, bad(err)
			}
			rest = append(rest, field{f.name, c.Bytes()})
			continue
		}
		var err error
		switch f.name {
		case "_id":
			err = json.Unmarshal(f.value, &d.id)
		case "_rev":
			err = json.Unmarshal(f.value, &d.rev)
		case "_deleted":
			err = json.Unmarshal(f.value, &d.deleted)
		case "_revisions":
			var r struct {
				Start int
				IDs   []string
			}
			err = json.Unmarshal(f.value, &r)
			d.pos, d.path = r.Start, r.IDs
		case "_attachments":
			d.atts, err = parseAttachments(f.value)
		case "_revs_info", "_conflicts", "_deleted_conflicts", "_local_seq":
		default:
			return nil, fail(http.StatusBadRequest, "doc_validation", "Bad special document member: "+f.name)
		}
		if err != nil {
			return nil, bad(fmt.Errorf("%s: %w", f.name, err))
		}
	}
	if d.rev != "" {
		if _, _, err := shardfile.ParseRev(d.rev); err != nil {
			return nil, fail(http.StatusBadRequest, "bad_request", "Invalid rev format")
		}
	}
	d.body = assemble(rest, nil, nil)
	return d, nil
}

func parseAttachments(raw []byte) ([]shardfile.AttIn, error) {
	fs, err := fields(raw)
	if err != nil {
		return nil, err
	}
	var out []shardfile.AttIn
	for _, f := range fs {
		var a struct {
			Type   string `json:"content_type"`
			RevPos int    `json:"revpos"`
			Data   *string
			Stub   bool
		}
		if err := json.Unmarshal(f.value, &a); err != nil {
			return nil, err
		}
		in := shardfile.AttIn{Name: f.name, Type: a.Type, RevPos: a.RevPos, Stub: a.Data == nil}
		if a.Data != nil {
			if in.Data, err = base64.StdEncoding.DecodeString(*a.Data); err != nil {
				return nil, err
			}
		}
		if in.Type == "" {
			in.Type = "application/octet-stream"
		}
		out = append(out, in)
	}
	return out, nil
}

// edit turns the document into an edit of its shard.
func (d *docIn) edit(newEdits bool) (shardfile.Edit, error) {
	e := shardfile.Edit{ID: d.id, Rev: d.rev, Deleted: d.deleted, Body: d.body, Atts: d.atts, Local: strings.HasPrefix(d.id, "_local/")}
	if newEdits || e.Local {
		return e, nil
	}
	e.Pos, e.Path = d.pos, d.path
	if len(e.Path) == 0 {
		pos, id, err := shardfile.ParseRev(d.rev)
		if err != nil {
			return e, fail(http.StatusBadRequest, "bad_request", "Invalid rev format")
		}
		e.Pos, e.Path = pos, []string{id}
	}
	return e, nil
}

// docOptions say how a document is shown.
type docOptions struct {
	revs, conflicts, attachments, revsInfo, localSeq bool
}

// render shows one leaf of a document as clients get it.
func (d *wireDoc) render(l *wireLeaf, o docOptions) json.RawMessage {
	head := []field{{"_id", quote(d.ID)}, {"_rev", quote(l.rev())}}
	if l.Deleted {
		head = append(head, field{"_deleted", []byte("true")})
	}
	var tail []field
	add := func(name string, v any) {
		if b, err := json.Marshal(v); err == nil {
			tail = append(tail, field{name, b})
		}
	}
	if o.revs {
		add("_revisions", map[string]any{"start": l.Pos, "ids": l.Path})
	}
	if o.revsInfo {
		info := []map[string]string{}
		for i, id := range l.Path {
			status := "missing" // old bodies are not kept track of
			if i == 0 {
				status = "available"
			}
			info = append(info, map[string]string{"rev": fmt.Sprintf("%d-%s", l.Pos-i, id), "status": status})
		}
		add("_revs_info", info)
	}
	if o.conflicts {
		var live []string
		for i := range d.Leaves {
			if c := &d.Leaves[i]; c.rev() != l.rev() && !c.Deleted {
				live = append(live, c.rev())
			}
		}
		if live != nil {
			add("_conflicts", live)
		}
	}
	if o.localSeq {
		add("_local_seq", d.Seq)
	}
	if len(l.Atts) > 0 {
		slices.SortFunc(l.Atts, func(a, b wireAtt) int { return strings.Compare(a.Name, b.Name) })
		var atts []field
		for _, a := range l.Atts {
			m := map[string]any{"content_type": a.Type, "revpos": a.RevPos, "digest": a.Digest}
			if o.attachments {
				m["data"] = a.Data
			} else {
				m["length"], m["stub"] = a.Len, true
			}
			if b, err := json.Marshal(m); err == nil {
				atts = append(atts, field{a.Name, b})
			}
		}
		tail = append(tail, field{"_attachments", assemble(atts, nil, nil)})
	}
	return assemble(head, l.Body, tail)
}
