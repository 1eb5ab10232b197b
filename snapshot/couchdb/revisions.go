package couchdb

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"
)

// What copies documents with their histories from one database into another: the
// calls of CouchDB's replication protocol.

// Leaf names one leaf revision of a document.
type Leaf struct {
	ID  string `json:"id"`
	Rev string `json:"rev"`
}

// Missing tells which of the named revisions a database does not have.
func (c *Client) Missing(ctx context.Context, database string, revs map[string][]string) ([]Leaf, error) {
	var said map[string]struct{ Missing []string }
	if err := c.do(ctx, http.MethodPost, "/"+escape(database)+"/_revs_diff", revs, &said); err != nil {
		return nil, err
	}
	var missing []Leaf
	for id, its := range said {
		for _, rev := range its.Missing {
			missing = append(missing, Leaf{id, rev})
		}
	}
	return missing, nil
}

// Revision is one leaf revision with its history, as CouchDB wrote it.
type Revision struct {
	Leaf
	// Doc has _revisions, and _attachments as stubs or with their data.
	Doc json.RawMessage
	// HasAttachments tells whether there are any; AttachmentBytes is their length
	// where they are stubs.
	HasAttachments  bool
	AttachmentBytes int64
}

// Revisions reads the named revisions and hands one after the other to each. With
// attachments their data is in the documents. One that is not there is an error.
// idle bounds the wait for the next byte.
func (c *Client) Revisions(ctx context.Context, database string, leaves []Leaf, attachments bool, idle time.Duration, each func(Revision) error) error {
	query := url.Values{"revs": {"true"}}
	if attachments {
		query.Set("attachments", "true")
	}
	path := "/" + escape(database) + "/_bulk_get?" + query.Encode()
	in, err := json.Marshal(map[string]any{"docs": leaves})
	if err != nil {
		return err
	}
	body, err := c.stream(ctx, http.MethodPost, path, in, "identity", idle)
	if err != nil {
		return err
	}
	defer func() { _ = body.Close() }()
	if err := bulk(json.NewDecoder(body), each); err != nil {
		return fmt.Errorf("POST %s: %w", path, broken(err))
	}
	return nil
}

// bulk walks through {"results":[{"id":…,"docs":[{"ok":…}]},…]}.
func bulk(in *json.Decoder, each func(Revision) error) error {
	if err := delim(in, '{'); err != nil {
		return err
	}
	if key, err := in.Token(); err != nil {
		return err
	} else if key != "results" {
		return fmt.Errorf("%w: %v where results should be", ErrBroken, key)
	}
	if err := delim(in, '['); err != nil {
		return err
	}
	for in.More() {
		var row struct {
			ID   string
			Docs []struct {
				OK    json.RawMessage
				Error *struct{ Rev, Error, Reason string }
			}
		}
		if err := in.Decode(&row); err != nil {
			return err
		}
		for _, doc := range row.Docs {
			if doc.Error != nil || len(doc.OK) == 0 {
				return fmt.Errorf("document %s: %w (%+v)", row.ID, ErrUnreadable, doc.Error)
			}
			var head struct {
				Rev         string                `json:"_rev"`
				Attachments map[string]Attachment `json:"_attachments"`
			}
			if err := json.Unmarshal(doc.OK, &head); err != nil {
				return fmt.Errorf("document %s: %w", row.ID, err)
			}
			r := Revision{Leaf: Leaf{row.ID, head.Rev}, Doc: doc.OK, HasAttachments: len(head.Attachments) > 0}
			for _, a := range head.Attachments {
				r.AttachmentBytes += a.Length
			}
			if err := each(r); err != nil {
				return err
			}
		}
	}
	if err := delim(in, ']'); err != nil {
		return err
	}
	return delim(in, '}')
}

// Refusal is a document that a database did not take.
type Refusal struct {
	ID, Error, Reason string
}

// Store writes revisions as they are, with their histories: what is there already
// is left alone. It gives those that were not taken.
func (c *Client) Store(ctx context.Context, database string, docs []json.RawMessage) ([]Refusal, error) {
	var said []Refusal
	err := c.do(ctx, http.MethodPost, "/"+escape(database)+"/_bulk_docs", map[string]any{"docs": docs, "new_edits": false}, &said)
	var refused []Refusal
	for _, r := range said {
		if r.Error != "" {
			refused = append(refused, r)
		}
	}
	return refused, err
}

// CopyRevision copies one revision with its attachments from a database of from
// into one of this client, as it comes: nothing of it is held in memory. idle
// bounds the wait for the next byte.
func (c *Client) CopyRevision(ctx context.Context, database string, from *Client, source string, leaf Leaf, idle time.Duration) error {
	query := url.Values{"rev": {leaf.Rev}, "revs": {"true"}, "attachments": {"true"}, "att_encoding_info": {"true"}}
	body, err := from.open(ctx, exchange{method: http.MethodGet, path: "/" + escape(source) + "/" + escapeID(leaf.ID) + "?" + query.Encode(),
		accept: "multipart/related", encoding: "identity"}, idle)
	if err != nil {
		return err
	}
	defer func() { _ = body.Close() }()
	path := "/" + escape(database) + "/" + escapeID(leaf.ID) + "?new_edits=false"
	req, err := http.NewRequestWithContext(ctx, http.MethodPut, c.base+path, io.NopCloser(body))
	if err != nil {
		return err
	}
	req.ContentLength = body.length
	req.SetBasicAuth(c.user, c.password)
	req.Header.Set("Content-Type", body.contentType)
	req.Header.Set("Accept", "application/json")
	resp, err := c.http.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusCreated && resp.StatusCode != http.StatusAccepted {
		return statusError(http.MethodPut, path, resp)
	}
	_, err = io.Copy(io.Discard, io.LimitReader(resp.Body, maxAnswer))
	return err
}

// exchange is one that is answered with a stream.
type exchange struct {
	method, path string
	body         []byte
	// accept is a media type; "" is JSON.
	accept, encoding string
}

// reader gives a body that can be sent again, or nil.
func (r exchange) reader() io.Reader {
	if r.body == nil {
		return nil
	}
	return bytes.NewReader(r.body)
}
