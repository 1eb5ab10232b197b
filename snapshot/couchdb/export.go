package couchdb

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// AllDocuments streams the living documents of a database in the order of their ids,
// design documents among them, and hands each as CouchDB wrote it to each: with the
// names of its conflicting revisions, and with the data of its attachments or stubs. It
// never holds more than one. idle bounds the wait for the next byte.
func (c *Client) AllDocuments(ctx context.Context, database string, attachments bool, idle time.Duration, each func(json.RawMessage) error) error {
	query := url.Values{"include_docs": {"true"}, "conflicts": {"true"}, "attachments": {strconv.FormatBool(attachments)}}
	path := "/" + escape(database) + "/_all_docs?" + query.Encode()
	body, err := c.stream(ctx, http.MethodGet, path, nil, "identity", idle)
	if err != nil {
		return err
	}
	defer func() { _ = body.Close() }()
	if err := allRows(json.NewDecoder(body), each); err != nil {
		return fmt.Errorf("GET %s: %w", path, broken(err))
	}
	return nil
}

// allRows walks through {"total_rows":…,"offset":…,"rows":[…]}.
func allRows(in *json.Decoder, each func(json.RawMessage) error) error {
	if err := delim(in, '{'); err != nil {
		return err
	}
	complete := false
	for in.More() {
		key, err := in.Token()
		if err != nil {
			return err
		}
		if key != "rows" {
			var skipped json.RawMessage
			if err := in.Decode(&skipped); err != nil {
				return err
			}
			if key == "error" {
				return fmt.Errorf("%w: it says %s", ErrBroken, skipped)
			}
			continue
		}
		if err := rowDocuments(in, each); err != nil {
			return err
		}
		complete = true
	}
	if err := delim(in, '}'); err != nil {
		return err
	}
	if !complete {
		return io.ErrUnexpectedEOF
	}
	return nil
}

func rowDocuments(in *json.Decoder, each func(json.RawMessage) error) error {
	if err := delim(in, '['); err != nil {
		return err
	}
	for in.More() {
		var row struct {
			ID    string
			Error string
			Doc   json.RawMessage
		}
		if err := in.Decode(&row); err != nil {
			return err
		}
		if row.Error != "" || len(row.Doc) == 0 || string(row.Doc) == "null" {
			return fmt.Errorf("document %s: %w %s", row.ID, ErrUnreadable, row.Error)
		}
		if err := each(row.Doc); err != nil {
			return err
		}
	}
	return delim(in, ']')
}

// Leaves streams all leaf revisions of a document, deleted ones too, each with its
// history as _revisions. A document that was never there is a StatusError 404.
func (c *Client) Leaves(ctx context.Context, database, id string, attachments bool, idle time.Duration, each func(json.RawMessage) error) error {
	query := url.Values{"open_revs": {"all"}, "revs": {"true"}, "attachments": {strconv.FormatBool(attachments)}}
	path := "/" + escape(database) + "/" + escapeID(id)
	body, err := c.stream(ctx, http.MethodGet, path+"?"+query.Encode(), nil, "identity", idle)
	if err != nil {
		return err
	}
	defer func() { _ = body.Close() }()
	in, found := json.NewDecoder(body), 0
	walk := func() error {
		if err := delim(in, '['); err != nil {
			return err
		}
		for in.More() {
			var row struct {
				OK      json.RawMessage
				Missing string
			}
			if err := in.Decode(&row); err != nil {
				return err
			}
			if len(row.OK) == 0 {
				return fmt.Errorf("revision %s: %w", row.Missing, ErrUnreadable)
			}
			found++
			if err := each(row.OK); err != nil {
				return err
			}
		}
		return delim(in, ']')
	}
	if err := walk(); err != nil {
		return fmt.Errorf("GET %s: %w", path, broken(err))
	}
	if found == 0 { // some versions answer so for a document that is not there
		return &StatusError{Method: http.MethodGet, Path: path, Status: http.StatusNotFound, Code: "not_found", Reason: "missing"}
	}
	return nil
}

// Earlier gives the revisions before a leaf, the newest first, each with whether
// CouchDB still has its body.
func (c *Client) Earlier(ctx context.Context, database, id, leaf string) (revs []string, has map[string]bool, err error) {
	var said struct {
		Info []struct{ Rev, Status string } `json:"_revs_info"`
	}
	path := "/" + escape(database) + "/" + escapeID(id) + "?" + url.Values{"rev": {leaf}, "revs_info": {"true"}}.Encode()
	if err := c.do(ctx, http.MethodGet, path, nil, &said); err != nil {
		return nil, nil, err
	}
	has = map[string]bool{}
	for _, i := range said.Info {
		if i.Rev != leaf {
			revs = append(revs, i.Rev)
			// "deleted" is a tombstone, which has a body too.
			has[i.Rev] = strings.EqualFold(i.Status, "available") || strings.EqualFold(i.Status, "deleted")
		}
	}
	return revs, has, nil
}

// ErrGone says that CouchDB has no body of a revision any more.
var ErrGone = errors.New("its body is gone")

// Document reads one revision as CouchDB wrote it, or is an ErrGone.
func (c *Client) Document(ctx context.Context, database, id, rev string, attachments bool, idle time.Duration) (json.RawMessage, error) {
	path := "/" + escape(database) + "/" + escapeID(id)
	query := url.Values{"rev": {rev}, "attachments": {strconv.FormatBool(attachments)}}
	body, err := c.stream(ctx, http.MethodGet, path+"?"+query.Encode(), nil, "identity", idle)
	if IsStatus(err, http.StatusNotFound) {
		return nil, fmt.Errorf("revision %s: %w", rev, ErrGone)
	}
	if err != nil {
		return nil, err
	}
	defer func() { _ = body.Close() }()
	var doc json.RawMessage
	if err := json.NewDecoder(body).Decode(&doc); err != nil {
		return nil, fmt.Errorf("GET %s: %w", path, broken(err))
	}
	return doc, nil
}
