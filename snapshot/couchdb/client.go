package couchdb

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"strings"

	"github.com/medic/cht-backup/snapshot/bounded"
)

// maxAnswer bounds one answer in bytes. The largest is a page of shard maps:
// 200 maps of 12 shards are some 500 kB.
const maxAnswer = 64 << 20

// answered are the bounds of an answer that is read as a whole. Whoever may change an
// instance may put another server in CouchDB's place, and the controller serves others
// too. The most values are in a list of shard files, of some 60 bytes each.
var answered = bounded.Limits{Bytes: maxAnswer, Depth: 100, Values: 1 << 20}

// Client talks to one CouchDB node as its admin. It is safe for concurrent use.
type Client struct {
	base     string
	user     string
	password string
	http     *http.Client
}

// New makes a client of the node at base, for example http://10.0.0.7:5984.
func New(base, user, password string, transport http.RoundTripper) *Client {
	return &Client{base: strings.TrimRight(base, "/"), user: user, password: password, http: &http.Client{Transport: transport, CheckRedirect: stay}}
}

// stay follows no redirect: what is asked for is always where it is asked for, and whoever
// answers in CouchDB's place would choose what the controller's machine is to reach.
func stay(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }

// StatusError is an answer other than the expected one.
type StatusError struct {
	Method, Path string
	Status       int
	// Code, Reason and State are CouchDB's "error", "reason" and "status".
	Code, Reason, State string
}

func (e *StatusError) Error() string {
	return fmt.Sprintf("%s %s: HTTP %d %s: %s", e.Method, e.Path, e.Status, e.Code, e.Reason)
}

// IsStatus tells whether err is an answer with that HTTP status.
func IsStatus(err error, status int) bool {
	var e *StatusError
	return errors.As(err, &e) && e.Status == status
}

// do sends one request and decodes a 2xx answer into out (nil to drop it). The
// URL carries no credentials, so no error text can leak them.
func (c *Client) do(ctx context.Context, method, path string, in, out any) error {
	return c.send(ctx, method, path, nil, in, out)
}

func (c *Client) send(ctx context.Context, method, path string, header http.Header, in, out any) error {
	var body io.Reader
	if in != nil {
		raw, err := json.Marshal(in)
		if err != nil {
			return fmt.Errorf("%s %s: encode: %w", method, path, err)
		}
		body = bytes.NewReader(raw)
	}
	req, err := http.NewRequestWithContext(ctx, method, c.base+path, body)
	if err != nil {
		return err
	}
	maps.Copy(req.Header, header)
	req.SetBasicAuth(c.user, c.password)
	req.Header.Set("Accept", "application/json")
	if in != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode < 200 || resp.StatusCode > 299 {
		return statusError(method, path, resp)
	}
	if out == nil {
		_, err := io.Copy(io.Discard, io.LimitReader(resp.Body, maxAnswer)) // drained, so that the connection is used again
		return err
	}
	if err := json.NewDecoder(bounded.Reader(resp.Body, answered)).Decode(out); err != nil {
		return fmt.Errorf("%s %s: decode: %w", method, path, err)
	}
	return nil
}

// statusError reads what CouchDB says of a refused request.
func statusError(method, path string, resp *http.Response) error {
	e := &StatusError{Method: method, Path: path, Status: resp.StatusCode}
	var said struct{ Error, Reason, Status string }
	if raw, err := io.ReadAll(io.LimitReader(resp.Body, 4096)); err == nil && json.Unmarshal(raw, &said) == nil {
		e.Code, e.Reason, e.State = said.Error, said.Reason, said.Status
	}
	return e
}

// Version gives the server's version, for example "3.5.0".
func (c *Client) Version(ctx context.Context) (string, error) {
	var v struct{ Version string }
	err := c.do(ctx, http.MethodGet, "/", nil, &v)
	return v.Version, err
}

// NodeName gives the Erlang name of the node that answers.
func (c *Client) NodeName(ctx context.Context) (string, error) {
	var v struct{ Name string }
	err := c.do(ctx, http.MethodGet, "/_node/_local", nil, &v)
	return v.Name, err
}

// Membership is who a node is connected to and who belongs to the cluster.
type Membership struct {
	AllNodes     []string `json:"all_nodes"`
	ClusterNodes []string `json:"cluster_nodes"`
}

// Membership asks for it. It is answered from memory, so also while frozen.
func (c *Client) Membership(ctx context.Context) (Membership, error) {
	var m Membership
	err := c.do(ctx, http.MethodGet, "/_membership", nil, &m)
	return m, err
}

// InMaintenance tells whether the node is in maintenance mode "true". A cluster
// with such a node answers _dbs_info with not_found for databases that exist, so
// its counts prove nothing. A 200 of /_up proves only that the node runs.
func (c *Client) InMaintenance(ctx context.Context) (bool, error) {
	err := c.do(ctx, http.MethodGet, "/_up", nil, nil)
	var e *StatusError
	if errors.As(err, &e) && e.Status == http.StatusNotFound {
		return e.State == "maintenance_mode", nil
	}
	return false, err
}

// escape makes a path segment of a name. A plus must be escaped too: CouchDB
// reads a bare one as a blank.
func escape(name string) string {
	return strings.ReplaceAll(url.PathEscape(name), "+", "%2B")
}

// escapeID makes the path of a document's id. CouchDB wants the slash of _design/
// as it is: escaped it answers with a redirect.
func escapeID(id string) string {
	if name, design := strings.CutPrefix(id, "_design/"); design {
		return "_design/" + escape(name)
	}
	return escape(id)
}

// AddNode makes name a member of the cluster. A member that is there already
// is no error.
func (c *Client) AddNode(ctx context.Context, name string) error {
	err := c.do(ctx, http.MethodPut, "/_node/_local/_nodes/"+escape(name), struct{}{}, nil)
	if IsStatus(err, http.StatusConflict) {
		return nil
	}
	return err
}

// Configure changes a setting of the node that answers, until it ends: it is not
// written to its configuration.
func (c *Client) Configure(ctx context.Context, section, key, value string) error {
	return c.send(ctx, http.MethodPut, "/_node/_local/_config/"+escape(section)+"/"+escape(key), http.Header{"X-Couch-Persist": {"false"}}, value, nil)
}

// LocalDatabases lists the node-local databases of node as that node's disk has
// them, among them every shard file as "shards/<range>/<db>.<suffix>".
func (c *Client) LocalDatabases(ctx context.Context, node string) ([]string, error) {
	var names []string
	err := c.do(ctx, http.MethodGet, "/_node/"+escape(node)+"/_all_dbs", nil, &names)
	return names, err
}
