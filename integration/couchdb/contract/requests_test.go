package contract

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// try sends one request, as the admin unless auth says otherwise: "name:password",
// or nobody.
func try(ctx context.Context, method, url, auth string, body any, header ...string) (int, []byte, error) {
	var in io.Reader
	switch b := body.(type) {
	case nil:
	case string:
		in = strings.NewReader(b)
	default:
		raw, err := json.Marshal(b)
		if err != nil {
			return 0, nil, err
		}
		in = strings.NewReader(string(raw))
	}
	req, err := http.NewRequestWithContext(ctx, method, url, in)
	if err != nil {
		return 0, nil, err
	}
	switch name, pass, ok := strings.Cut(auth, ":"); {
	case ok:
		req.SetBasicAuth(name, pass)
	case auth == "":
		req.SetBasicAuth(user, password)
	}
	req.Header.Set("Content-Type", "application/json")
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer resp.Body.Close() //nolint:errcheck // read to the end
	out, err := io.ReadAll(resp.Body)
	return resp.StatusCode, out, err
}

// nobody is the auth of a request without credentials.
const nobody = "-"

func (c *cluster) call(i int, method, path string, body any, header ...string) (int, string) {
	c.t.Helper()
	return c.as("", i, method, path, body, header...)
}

func (c *cluster) as(auth string, i int, method, path string, body any, header ...string) (int, string) {
	c.t.Helper()
	status, out, err := try(c.t.Context(), method, c.urls[i]+path, auth, body, header...)
	if err != nil {
		c.t.Fatalf("%s %s: %v", method, c.urls[i]+path, err)
	}
	return status, string(out)
}

func (c *cluster) get(i int, path string, v any) {
	c.t.Helper()
	status, out := c.call(i, "GET", path, nil)
	if status != 200 {
		c.t.Fatalf("GET %s%s: %d %s", c.urls[i], path, status, out)
	}
	if err := json.Unmarshal([]byte(out), v); err != nil {
		c.t.Fatalf("GET %s%s: %v in %s", c.urls[i], path, err, out)
	}
}

func (c *cluster) want(status int, i int, method, path string, body any, header ...string) string {
	c.t.Helper()
	got, out := c.call(i, method, path, body, header...)
	if got != status {
		c.t.Fatalf("%s %s%s: %d %s, want %d", method, c.urls[i], path, got, out, status)
	}
	return out
}

// database creates a database that goes away with the test.
func (c *cluster) database(name string) string {
	c.t.Helper()
	name = fmt.Sprintf("contract-%s-%d", name, time.Now().UnixNano())
	path := "/" + escape(name)
	c.want(201, 0, "PUT", path, nil)
	t, base := c.t, c.urls[0]
	t.Cleanup(func() {
		if c.hosts == nil && c.dirs != nil {
			return // its cluster is gone already
		}
		_, _, _ = try(context.Background(), "DELETE", base+path, "", nil)
	})
	return name
}

// escape makes a name a path segment; CouchDB reads a bare + as a space.
func escape(name string) string {
	return strings.ReplaceAll(url.PathEscape(name), "+", "%2B")
}
