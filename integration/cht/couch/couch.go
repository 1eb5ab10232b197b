// Package couch is the little of CouchDB's HTTP interface that the load and the
// checks need. In: a base URL and credentials. Out: decoded answers, or the
// status. It never tries again, unless Patient: whoever measures must see each
// failure. It is not
// the product's client, so that tests do not lean on what they test.
package couch

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

// Client talks to one address. It is safe for concurrent use.
type Client struct {
	Base           string
	user, password string
	http           *http.Client
	patience       time.Duration
}

// Patient gives a client that waits, for so long at most, where HAProxy has no server
// to pass a request to, as for seconds after a start. Such a request went nowhere. It
// is for setting up, not for measuring.
func (c *Client) Patient(d time.Duration) *Client {
	patient := *c
	patient.patience = d
	return &patient
}

// noServer is how HAProxy says so.
const noServer = "No server is available"

// New makes a client; without user it sends no credentials.
func New(base, user, password string, transport http.RoundTripper) *Client {
	return &Client{Base: strings.TrimRight(base, "/"), user: user, password: password, http: &http.Client{Transport: transport}}
}

// Transport keeps as many connections open as workers use, and sets no limit on
// how long an answer takes: a stalled disk must look like a stall, not a failure.
func Transport(workers int) *http.Transport {
	return &http.Transport{
		DialContext:         (&net.Dialer{Timeout: 2 * time.Minute, KeepAlive: 30 * time.Second}).DialContext,
		MaxIdleConns:        workers * 4,
		MaxIdleConnsPerHost: workers * 2,
		// HAProxy closes idle connections after 5 min; be first, or a request dies.
		IdleConnTimeout: time.Minute,
	}
}

// FromEnvironment splits COUCH_URL (http://user:password@host:port/db) as CHT's
// services get it.
func FromEnvironment(raw string) (base, user, password, database string, err error) {
	u, err := url.Parse(raw)
	if err != nil || u.Host == "" {
		return "", "", "", "", errors.New("COUCH_URL is not a URL with a host") // its text holds the password
	}
	password, _ = u.User.Password()
	// The charts escape for a query, where a blank is a plus sign.
	if plain, err := url.QueryUnescape(rawPassword(raw)); err == nil && plain != "" {
		password = plain
	}
	return u.Scheme + "://" + u.Host, u.User.Username(), password, strings.Trim(u.Path, "/"), nil
}

func rawPassword(raw string) string {
	_, rest, _ := strings.Cut(raw, "://")
	userinfo, _, _ := strings.Cut(rest, "@")
	_, password, _ := strings.Cut(userinfo, ":")
	return password
}

// StatusError is an answer that is no success.
type StatusError struct {
	Status int
	Text   string
}

func (e *StatusError) Error() string { return fmt.Sprintf("HTTP %d: %s", e.Status, e.Text) }

// Status is the HTTP status behind err, 0 where there was no answer.
func Status(err error) int {
	var e *StatusError
	if errors.As(err, &e) {
		return e.Status
	}
	return 0
}

// Do sends one request and decodes the answer into out, where given.
func (c *Client) Do(ctx context.Context, method, path string, in, out any) error {
	for begin := time.Now(); ; {
		err := c.once(ctx, method, path, in, out)
		var e *StatusError
		if !errors.As(err, &e) || e.Status != http.StatusServiceUnavailable || !strings.Contains(e.Text, noServer) || time.Since(begin) > c.patience {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(200 * time.Millisecond):
		}
	}
}

func (c *Client) once(ctx context.Context, method, path string, in, out any) error {
	var body io.Reader
	if in != nil {
		raw, err := json.Marshal(in)
		if err != nil {
			return err
		}
		body = bytes.NewReader(raw)
	}
	req, err := http.NewRequestWithContext(ctx, method, c.Base+path, body)
	if err != nil {
		return err
	}
	if c.user != "" {
		req.SetBasicAuth(c.user, c.password)
	}
	req.Header.Set("Accept", "application/json")
	if in != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode >= 300 {
		text, _ := io.ReadAll(io.LimitReader(resp.Body, 512))
		return &StatusError{resp.StatusCode, strings.TrimSpace(string(text))}
	}
	if out != nil {
		if err := json.NewDecoder(resp.Body).Decode(out); err != nil {
			return fmt.Errorf("%s %s: decode: %w", method, path, err)
		}
	}
	_, err = io.Copy(io.Discard, resp.Body) // to its end, or the connection is not used again
	return err
}

// Get is Do with GET.
func (c *Client) Get(ctx context.Context, path string, out any) error {
	return c.Do(ctx, http.MethodGet, path, nil, out)
}

// Put writes one document and gives its revision.
func (c *Client) Put(ctx context.Context, db, id string, doc any) (rev string, err error) {
	var answer struct{ Rev string }
	err = c.Do(ctx, http.MethodPut, "/"+Escape(db)+"/"+EscapeID(id), doc, &answer)
	return answer.Rev, err
}

// CreateDB makes a database; that it is there is no error.
func (c *Client) CreateDB(ctx context.Context, db string) error {
	err := c.Do(ctx, http.MethodPut, "/"+Escape(db), nil, nil)
	if Status(err) == http.StatusPreconditionFailed {
		return nil
	}
	return err
}

// Escape makes a database name or plain id fit for a path.
func Escape(name string) string { return url.PathEscape(name) }

// EscapeID leaves the slash of _design/ and _local/ as CouchDB wants it.
func EscapeID(id string) string {
	for _, prefix := range []string{"_design/", "_local/"} {
		if rest, ok := strings.CutPrefix(id, prefix); ok {
			return prefix + url.PathEscape(rest)
		}
	}
	return url.PathEscape(id)
}

// SameSet tells whether two lists hold the same names.
func SameSet(a, b []string) bool {
	a, b = slices.Sorted(slices.Values(a)), slices.Sorted(slices.Values(b))
	return slices.Equal(a, b)
}
