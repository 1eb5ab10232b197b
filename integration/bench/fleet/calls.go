package main

import (
	"cmp"
	"fmt"
	"io"
	"log"
	"maps"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"k8s.io/client-go/rest"

	"github.com/medic/cht-backup/integration/bench/page"
	"github.com/medic/cht-backup/integration/relay"
)

// calls stands between a controller and the API server and counts what is asked.
type calls struct {
	mu  sync.Mutex
	of  map[string]int // by method and resource
	url string
	l   net.Listener
	// token of the controller, which sends none where there is no TLS; set before it
	// starts.
	token string
}

func countCalls(config *rest.Config) (*calls, error) {
	c := &calls{of: map[string]int{}}
	to, err := relay.To(config, func() string { return c.token })
	if err != nil {
		return nil, err
	}
	if c.l, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		return nil, err
	}
	c.url = "http://" + c.l.Addr().String()
	server := &http.Server{ReadHeaderTimeout: time.Minute, ErrorLog: log.New(io.Discard, "", 0), Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c.count(r)
		to.ServeHTTP(w, r)
	})}
	go func() { _ = server.Serve(c.l) }()
	return c, nil
}

func (c *calls) count(r *http.Request) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.of[what(r.Method, r.URL)]++
}

// what is asked: the method, the resource, and whether one is named.
func what(method string, u *url.URL) string {
	parts := relay.Resource(u)
	if parts == nil {
		return method + " " + u.Path
	}
	resource := parts[0]
	if len(parts) > 2 {
		resource += "/" + strings.Join(parts[2:], "/")
	}
	switch {
	case u.Query().Get("watch") != "":
		method = "WATCH"
	case method == http.MethodGet && len(parts) == 1:
		method = "LIST"
	}
	return method + " " + resource
}

// list prints what was asked for each of n backups.
func (c *calls) list(out io.Writer, n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	_, _ = fmt.Fprintf(out, "\nWith %d instances, calls of one backup\n", n)
	t := page.NewTable(out, "calls", "what")
	for _, what := range slices.SortedFunc(maps.Keys(c.of), func(a, b string) int { return cmp.Or(c.of[b]-c.of[a], cmp.Compare(a, b)) }) {
		t.Row(fmt.Sprintf("%.2f", float64(c.of[what])/float64(n)), what)
	}
	t.End()
}

func (c *calls) reset() {
	c.mu.Lock()
	defer c.mu.Unlock()
	clear(c.of)
}
