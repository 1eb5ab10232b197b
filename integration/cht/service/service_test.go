package service

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/medic/cht-backup/integration/cht/couch"
)

func TestHAProxyConfig(t *testing.T) {
	o := HAProxyOptions{Bind: "0.0.0.0:5984", Servers: []string{"a", "b"}, HealthcheckAddr: "h", User: "medic", Password: "p w"}
	text := HAProxyConfig(o)
	if strings.Count(text, "agent-check agent-inter 5s agent-addr h agent-port 5555") != 2 || strings.Contains(text, "httpchk") {
		t.Errorf("two servers:\n%s", text)
	}
	o.Servers = []string{"a"}
	text = HAProxyConfig(o)
	if strings.Contains(text, "agent-check") || !strings.Contains(text, "uri /_up hdr Authorization 'Basic bWVkaWM6cCB3'") {
		t.Errorf("one server:\n%s", text)
	}
}

func TestUnhealthy(t *testing.T) {
	members := `{"all_nodes":["b","a"],"cluster_nodes":["a","b"]}`
	delay := time.Duration(0)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		select {
		case <-time.After(delay):
		case <-r.Context().Done():
		}
		_, _ = fmt.Fprint(w, members)
	}))
	defer server.Close()
	c := couch.New(server.URL, "u", "p", &http.Transport{DisableKeepAlives: true})
	if why := unhealthy(context.Background(), c, 2); why != "" {
		t.Errorf("a whole cluster is down: %s", why)
	}
	if unhealthy(context.Background(), c, 3) == "" {
		t.Error("a cluster that lacks a node is up")
	}
	members = `{"all_nodes":["a","c"],"cluster_nodes":["a","b"]}`
	if unhealthy(context.Background(), c, 2) == "" {
		t.Error("a cluster with a stranger is up")
	}
	members, delay = `{"all_nodes":["a","b"],"cluster_nodes":["a","b"]}`, 1500*time.Millisecond
	if unhealthy(context.Background(), c, 2) == "" {
		t.Error("an answer after more than a second is up")
	}
}

// The agent speaks what HAProxy reads: one word, a line end, and the end.
func TestHealthcheckAnswersDownWithoutCouchDB(t *testing.T) {
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := free.Addr().String()
	if err := free.Close(); err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	ctx, stop := context.WithCancel(t.Context())
	defer func() {
		stop()
		if err := <-served; err != nil {
			t.Error(err)
		}
	}()
	go func() { served <- Healthcheck(ctx, addr, []string{"127.0.0.1"}, "u", "p") }()
	var conn net.Conn
	for range 100 {
		if conn, err = net.Dial("tcp", addr); err == nil {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	if line, err := bufio.NewReader(conn).ReadString('\n'); line != "down\n" {
		t.Errorf("answered %q, %v", line, err)
	}
}
