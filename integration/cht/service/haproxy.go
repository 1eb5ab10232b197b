package service

import (
	"context"
	"encoding/base64"
	"fmt"
	"net"
	"strings"
	"time"
)

// HAProxyOptions are the environment of the CHT's HAProxy.
type HAProxyOptions struct {
	Bind            string // address:port
	Servers         []string
	HealthcheckAddr string
	User, Password  string
}

// HAProxyConfig has the settings of the CHT's that decide what a client sees while
// CouchDB stalls or is down: timeouts of hours, retries and redispatch, an agent
// for clusters, /_up for one node.
func HAProxyConfig(o HAProxyOptions) string {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	line("global")
	line("  maxconn 60000")
	line("  no strict-limits") // a machine may allow fewer files than that asks for
	line("  spread-checks 5")
	line("  log stdout len 4096 format raw local2 notice")
	line("  tune.bufsize 32768")
	line("defaults")
	line("  mode http")
	for _, option := range []string{"http-ignore-probes", "forwardfor", "redispatch", "http-keep-alive"} {
		line("  option %s", option)
	}
	// In milliseconds: some 4 hours, 100 hours and 25 minutes.
	line("  timeout client 15000000")
	line("  timeout server 360000000")
	line("  timeout connect 1500000")
	line("  timeout http-keep-alive 5m")
	line("frontend http-in")
	line("  bind %s", o.Bind)
	line("  log global")
	line("  default_backend couchdb-servers")
	line("backend couchdb-servers")
	line("  balance leastconn")
	line("  retry-on all-retryable-errors")
	line("  retries 5")
	line("  log global")
	if len(o.Servers) == 1 {
		line("  option httpchk")
		line("  http-check send meth GET uri /_up hdr Authorization 'Basic %s'", base64.StdEncoding.EncodeToString([]byte(o.User+":"+o.Password)))
		line("  http-check expect status 200")
		line("  server %[1]s %[1]s:5984 check inter 5s", o.Servers[0])
	}
	for _, s := range o.Servers {
		if len(o.Servers) > 1 {
			line("  server %[1]s %[1]s:5984 check agent-check agent-inter 5s agent-addr %[2]s agent-port 5555", s, o.HealthcheckAddr)
		}
	}
	return b.String()
}

// WaitResolved waits until every name has an address: HAProxy gives up at start
// where one has none, and the kubelet waits long before it tries again.
func WaitResolved(ctx context.Context, hosts ...string) error {
	for _, host := range hosts {
		for {
			_, err := net.DefaultResolver.LookupHost(ctx, host)
			if err == nil {
				break
			}
			select {
			case <-ctx.Done():
				return err
			case <-time.After(200 * time.Millisecond):
			}
		}
	}
	return nil
}
