package node

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"net/textproto"
	"slices"
	"strconv"

	"github.com/medic/cht-backup/integration/couchdb/standin/shardfile"
)

// A document with its attachments as multipart/related: the document first, then
// each attachment in the order in which the document names them.

const multipartRelated = "multipart/related"

func replyMultipart(w http.ResponseWriter, d *wireDoc, l *wireLeaf, o docOptions) error {
	o.attachments = false
	doc := bytes.ReplaceAll(d.render(l, o), []byte(`"stub":true`), []byte(`"follows":true`))
	var body bytes.Buffer
	out := multipart.NewWriter(&body)
	part := func(header map[string]string, data []byte) error {
		h := textproto.MIMEHeader{}
		for k, v := range header {
			h.Set(k, v)
		}
		p, err := out.CreatePart(h)
		if err == nil {
			_, err = p.Write(data)
		}
		return err
	}
	err := part(map[string]string{"Content-Type": "application/json"}, doc)
	for _, a := range l.Atts { // render sorted them
		err = errors.Join(err, part(map[string]string{"Content-Type": a.Type, "Content-Length": strconv.FormatInt(a.Len, 10),
			"Content-Disposition": mime.FormatMediaType("attachment", map[string]string{"filename": a.Name})}, a.Data))
	}
	if err := errors.Join(err, out.Close()); err != nil {
		return err
	}
	w.Header().Set("Content-Type", multipartRelated+`; boundary="`+out.Boundary()+`"`)
	w.Header().Set("Content-Length", strconv.Itoa(body.Len()))
	w.Write(body.Bytes()) //nolint:errcheck // the client is gone
	return nil
}

// putDoc reads the document of a PUT, whichever way it comes.
func putDoc(r *http.Request) (*docIn, error) {
	kind, params, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || kind != multipartRelated {
		raw, err := readBody(r)
		if err != nil {
			return nil, err
		}
		return parseDoc(raw)
	}
	bad := fail(http.StatusBadRequest, "bad_request", "invalid multipart/related body")
	parts := multipart.NewReader(r.Body, params["boundary"])
	first, err := parts.NextRawPart()
	if err != nil {
		return nil, bad
	}
	raw, err := io.ReadAll(first)
	if err != nil {
		return nil, bad
	}
	d, err := parseDoc(raw)
	if err != nil {
		return nil, err
	}
	follow, err := following(raw)
	if err != nil {
		return nil, bad
	}
	for _, name := range follow {
		part, err := parts.NextRawPart()
		if err != nil {
			return nil, bad
		}
		data, err := io.ReadAll(part)
		if err != nil {
			return nil, bad
		}
		i := slices.IndexFunc(d.atts, func(a shardfile.AttIn) bool { return a.Name == name })
		d.atts[i].Stub, d.atts[i].Data = false, data
	}
	return d, nil
}

// following names the attachments that come as parts, in their order.
func following(raw []byte) ([]string, error) {
	fs, err := fields(raw)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, f := range fs {
		if f.name != "_attachments" {
			continue
		}
		atts, err := fields(f.value)
		if err != nil {
			return nil, err
		}
		for _, a := range atts {
			var is struct{ Follows bool }
			if err := json.Unmarshal(a.value, &is); err != nil {
				return nil, err
			}
			if is.Follows {
				names = append(names, a.name)
			}
		}
	}
	return names, nil
}
