package couchdb

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"syscall"
	"time"

	"github.com/medic/cht-backup/snapshot/bounded"
)

// ErrIdle says that a stream brought nothing for the time that was allowed.
var ErrIdle = errors.New("nothing came")

// ErrBroken says that an answer ended early or is no JSON: CouchDB gives up in
// the middle of a stream when it cannot read on.
var ErrBroken = errors.New("the answer ends before its end")

// Change is one document in a feed: its present leaf revisions.
type Change struct {
	ID      string
	Deleted bool
	// Revs are all leaf revisions, the winning one first.
	Revs []string
	// Doc is nil unless bodies were asked for, and when the body cannot be read.
	Doc *DocHead
}

// DocHead is what is kept of a document's body.
type DocHead struct {
	// Conflicts are the living leaf revisions besides the winning one.
	Conflicts   []string              `json:"_conflicts"`
	Attachments map[string]Attachment `json:"_attachments"`
}

// Attachment is what a document says of an attachment.
type Attachment struct {
	// Digest is that of the stored bytes, as "md5-" and base64.
	Digest string `json:"digest"`
	Length int64  `json:"length"`
}

// Feed says what of a database is streamed.
type Feed struct {
	// Since is the position to begin after; empty for all.
	Since string
	// Bodies reads the documents' bodies too.
	Bodies bool
	// Limit ends the feed after so many rows; 0 for all.
	Limit int
	// Idle bounds the wait for the next byte. There is no bound of the whole: it
	// takes as long as there are documents.
	Idle time.Duration
}

// Changes streams the documents of a database, deleted and design documents
// included, one row for each, and hands every row to each. It never holds more
// than one row. A row may come twice and the order is any. It gives the position
// reached; without an error the feed was complete.
//
// CouchDB answers from a snapshot of every shard taken when the feed starts, and
// one that brings nothing for minutes is ended by it: each must not be slow.
func (c *Client) Changes(ctx context.Context, database string, feed Feed, each func(Change) error) (last string, err error) {
	query := url.Values{"style": {"all_docs"}, "feed": {"normal"}, "since": {"0"}}
	if feed.Since != "" {
		query.Set("since", feed.Since)
	}
	if feed.Bodies {
		query.Set("include_docs", "true")
		query.Set("conflicts", "true")
	}
	if feed.Limit > 0 {
		query.Set("limit", strconv.Itoa(feed.Limit))
	}
	path := "/" + escape(database) + "/_changes"
	body, err := c.stream(ctx, http.MethodGet, path+"?"+query.Encode(), nil, "identity", feed.Idle)
	if err != nil {
		return "", err
	}
	defer func() { _ = body.Close() }()
	bound := &rowBound{in: body, most: maxRow}
	if feed.Bodies {
		bound.most = maxAnswer
	}
	bound.next()
	last, err = rows(json.NewDecoder(bound), func(c Change) error {
		bound.next()
		return each(c)
	})
	if err != nil {
		return "", fmt.Errorf("GET %s: %w", path, broken(err))
	}
	return last, nil
}

// maxRow bounds one row without a body, in bytes: an id, and a revision for each leaf.
const maxRow = 16 << 20

// rowBound ends a stream one of whose rows is longer than any of CouchDB's: rows are
// decoded one by one, and a single one could fill the memory.
type rowBound struct {
	in         io.Reader
	most, left int64
}

func (b *rowBound) next() { b.left = b.most }

func (b *rowBound) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, fmt.Errorf("%w: one row has more than %d bytes", bounded.ErrTooMuch, b.most)
	}
	n, err := b.in.Read(p)
	b.left -= int64(n)
	return n, err
}

// broken marks what comes of an answer that was begun and not ended.
func broken(err error) error {
	var syntax *json.SyntaxError
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET) || errors.As(err, &syntax) {
		return fmt.Errorf("%w: %w", ErrBroken, err)
	}
	return err
}

// rows walks through {"results":[…],"last_seq":…,"pending":…}.
func rows(in *json.Decoder, each func(Change) error) (last string, err error) {
	if err := delim(in, '{'); err != nil {
		return "", err
	}
	complete := false
	for in.More() {
		key, err := in.Token()
		if err != nil {
			return "", err
		}
		switch key {
		case "results":
			if err := results(in, each); err != nil {
				return "", err
			}
			complete = true
		case "last_seq":
			if err := in.Decode(&last); err != nil {
				return "", err
			}
		default:
			var skipped json.RawMessage
			if err := in.Decode(&skipped); err != nil {
				return "", err
			}
			if key == "error" {
				return "", fmt.Errorf("%w: it says %s", ErrBroken, skipped)
			}
		}
	}
	if err := delim(in, '}'); err != nil {
		return "", err
	}
	if !complete || last == "" {
		return "", io.ErrUnexpectedEOF
	}
	return last, nil
}

func results(in *json.Decoder, each func(Change) error) error {
	if err := delim(in, '['); err != nil {
		return err
	}
	for in.More() {
		var row struct {
			ID      string
			Deleted bool
			Changes []struct{ Rev string }
			Doc     *DocHead
		}
		if err := in.Decode(&row); err != nil {
			return err
		}
		change := Change{ID: row.ID, Deleted: row.Deleted, Doc: row.Doc, Revs: make([]string, len(row.Changes))}
		for i, r := range row.Changes {
			change.Revs[i] = r.Rev
		}
		if err := each(change); err != nil {
			return err
		}
	}
	return delim(in, ']')
}

func delim(in *json.Decoder, want json.Delim) error {
	got, err := in.Token()
	if err != nil {
		return err
	}
	if got != want {
		return fmt.Errorf("%w: %v where %v should be", ErrBroken, got, want)
	}
	return nil
}

// stream opens an answer that is read as it comes. encoding is named, so that
// nothing is unpacked on the way.
func (c *Client) stream(ctx context.Context, method, path string, body []byte, encoding string, idle time.Duration) (io.ReadCloser, error) {
	return c.open(ctx, exchange{method: method, path: path, body: body, encoding: encoding}, idle)
}

func (c *Client) open(ctx context.Context, r exchange, idle time.Duration) (*idleReader, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	s := &idleReader{ctx: ctx, cancel: cancel, idle: idle}
	s.timer = time.AfterFunc(idle, func() { cancel(fmt.Errorf("%w for %s", ErrIdle, idle)) })
	req, err := http.NewRequestWithContext(ctx, r.method, c.base+r.path, r.reader())
	if err != nil {
		cancel(nil)
		return nil, err
	}
	req.SetBasicAuth(c.user, c.password)
	req.Header.Set("Accept-Encoding", r.encoding)
	req.Header.Set("Accept", cmp.Or(r.accept, "application/json"))
	if r.body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := c.http.Do(req)
	if err != nil {
		err = s.cause(err)
		s.stop()
		return nil, err
	}
	if resp.StatusCode != http.StatusOK {
		defer s.stop()
		defer func() { _ = resp.Body.Close() }()
		return nil, statusError(r.method, r.path, resp)
	}
	s.timer.Stop()
	s.body, s.length, s.contentType = resp.Body, resp.ContentLength, resp.Header.Get("Content-Type")
	return s, nil
}

// idleReader bounds each wait for the server, and not the time that the caller
// takes in between.
type idleReader struct {
	ctx    context.Context
	cancel context.CancelCauseFunc
	timer  *time.Timer
	idle   time.Duration
	body   io.ReadCloser
	// length is in bytes, -1 where it is not known.
	length      int64
	contentType string
}

func (s *idleReader) Read(p []byte) (int, error) {
	s.timer.Reset(s.idle)
	n, err := s.body.Read(p)
	s.timer.Stop()
	if err != nil && !errors.Is(err, io.EOF) {
		err = s.cause(err)
	}
	return n, err
}

// cause names the idle time where it is what ended the stream.
func (s *idleReader) cause(err error) error {
	if cause := context.Cause(s.ctx); cause != nil && errors.Is(cause, ErrIdle) {
		return cause
	}
	return err
}

func (s *idleReader) stop() {
	s.timer.Stop()
	s.cancel(nil)
}

func (s *idleReader) Close() error {
	s.stop()
	return s.body.Close()
}
