package node

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/medic/cht-backup/integration/couchdb/standin/dist"
	"github.com/medic/cht-backup/integration/couchdb/standin/shardfile"
)

// ServeHTTP answers a client.
func (n *Node) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	n.requests.Add(1)
	w.Header().Set("Server", "CouchDB/"+Version+" (stand-in)")
	w.Header().Set("Cache-Control", "must-revalidate")
	if err := n.route(w, r); err != nil {
		replyError(w, err)
	}
}

func (n *Node) route(w http.ResponseWriter, r *http.Request) error {
	parts, err := splitPath(r.URL)
	if err != nil {
		return err
	}
	u, err := n.authenticate(r)
	if err != nil {
		return err
	}
	if err := n.requireUser(r, parts, u); err != nil {
		return err
	}
	if len(parts) == 0 {
		return n.welcome(w)
	}
	if strings.HasPrefix(parts[0], "_") && !isSystemDB(parts[0]) {
		return n.serverAPI(w, r, parts, u)
	}
	return n.dbAPI(w, r, parts, u)
}

func isSystemDB(name string) bool {
	return name == "_users" || name == "_replicator" || name == "_global_changes"
}

func splitPath(u *url.URL) ([]string, error) {
	var parts []string
	for _, p := range strings.Split(strings.Trim(u.EscapedPath(), "/"), "/") {
		if p == "" {
			continue
		}
		s, err := url.QueryUnescape(p) // a bare + is a space, in paths too
		if err != nil {
			return nil, fail(http.StatusBadRequest, "bad_request", "invalid path")
		}
		parts = append(parts, s)
	}
	return parts, nil
}

func reply(w http.ResponseWriter, status int, v any) error {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return fmt.Errorf("encode answer: %w", err)
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(buf.Len()))
	w.WriteHeader(status)
	w.Write(buf.Bytes()) //nolint:errcheck // the client is gone: nobody to tell
	return nil
}

func replyError(w http.ResponseWriter, err error) {
	var re *dist.RemoteError
	switch {
	case errors.As(err, &re):
	case errors.Is(err, dist.ErrDown) && errors.As(errWorkersDied, &re):
	default:
		re = &dist.RemoteError{Status: http.StatusInternalServerError, Code: "internal_server_error", Reason: err.Error()}
	}
	if re.Status == http.StatusUnauthorized {
		w.Header().Set("WWW-Authenticate", `Basic realm="Medic Mobile Web Services"`)
	}
	_ = reply(w, re.Status, map[string]string{"error": re.Code, "reason": re.Reason}) // two strings always encode
}

func errMethod(allow string) error {
	return fail(http.StatusMethodNotAllowed, "method_not_allowed", "Only "+allow+" allowed")
}

// editError is a failed edit as a client sees it.
func editError(err error) error {
	switch {
	case errors.Is(err, shardfile.ErrConflict):
		return fail(http.StatusConflict, "conflict", "Document update conflict.")
	case errors.Is(err, shardfile.ErrMissingStub):
		return fail(http.StatusPreconditionFailed, "missing_stub", "Invalid attachment stub.")
	}
	return err
}

func isForm(r *http.Request) bool {
	return strings.HasPrefix(r.Header.Get("Content-Type"), "application/x-www-form-urlencoded")
}

func readBody(r *http.Request) ([]byte, error) {
	b, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, fail(http.StatusBadRequest, "bad_request", "incomplete request body")
	}
	return b, nil
}

func readJSON(r *http.Request, v any) error {
	b, err := readBody(r)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(b, v); err != nil {
		return fail(http.StatusBadRequest, "bad_request", "invalid UTF-8 JSON")
	}
	return nil
}

// query reads a request's parameters, which are JSON where CouchDB says so.
type query struct{ url.Values }

func (q query) is(key string, def bool) bool {
	switch q.Get(key) {
	case "true":
		return true
	case "false":
		return false
	}
	return def
}

func (q query) number(key string, def int) (int, error) {
	v := q.Get(key)
	if v == "" {
		return def, nil
	}
	i, err := strconv.Atoi(v)
	if err != nil || i < 0 {
		return 0, fail(http.StatusBadRequest, "query_parse_error", "Invalid value for "+key+": "+v)
	}
	return i, nil
}

func (q query) json(keys ...string) (any, bool, error) {
	for _, key := range keys {
		if !q.Has(key) {
			continue
		}
		var v any
		if err := json.Unmarshal([]byte(q.Get(key)), &v); err != nil {
			return nil, false, fail(http.StatusBadRequest, "bad_request", "invalid_json")
		}
		return v, true, nil
	}
	return nil, false, nil
}
