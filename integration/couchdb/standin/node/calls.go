package node

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"

	"github.com/medic/cht-backup/integration/couchdb/standin/dist"
)

// Errors a handler returns to a client are dist.RemoteError, so that they pass
// between nodes whole.
func fail(status int, code, reason string) error {
	return &dist.RemoteError{Status: status, Code: code, Reason: reason}
}

// CouchDB's answers to what a wrong name, a lost node and maintenance mode cause.
var (
	errNoShards    = fail(http.StatusInternalServerError, "internal_server_error", "No DB shards could be opened.")
	errNodeDown    = fail(http.StatusInternalServerError, "nodedown", "progress not possible")
	errWorkersDied = fail(http.StatusInternalServerError, "error", "all_workers_died")
)

// inMaintenance is the answer to work on this node's shards in maintenance mode.
func (n *Node) inMaintenance() error {
	return fail(http.StatusPreconditionFailed, "nodedown", n.set.Name)
}

// lost says that a shard's node cannot serve: not connected, or in maintenance.
func lost(err error) bool {
	var re *dist.RemoteError
	return errors.Is(err, dist.ErrDown) || (errors.As(err, &re) && re.Code == "nodedown")
}

// register makes fn callable by every node.
func register[Req, Resp any](n *Node, method string, fn func(context.Context, Req) (Resp, error)) {
	n.local[method] = fn
	n.calls[method] = func(ctx context.Context, body []byte) ([]byte, error) {
		var req Req
		if err := json.Unmarshal(body, &req); err != nil {
			return nil, fmt.Errorf("decode call %s: %w", method, err)
		}
		resp, err := fn(ctx, req)
		if err != nil {
			return nil, err
		}
		return json.Marshal(resp)
	}
}

// call runs a method on a node, this one included.
func call[Resp, Req any](ctx context.Context, n *Node, node, method string, req Req) (Resp, error) {
	var resp Resp
	if node == n.set.Name {
		fn, ok := n.local[method].(func(context.Context, Req) (Resp, error))
		if !ok {
			return resp, fmt.Errorf("no method %s", method)
		}
		return fn(ctx, req)
	}
	body, err := json.Marshal(req)
	if err != nil {
		return resp, fmt.Errorf("encode call %s: %w", method, err)
	}
	out, err := n.mesh.Call(ctx, node, method, body)
	if err != nil {
		return resp, err
	}
	if err := json.Unmarshal(out, &resp); err != nil {
		return resp, fmt.Errorf("decode answer of %s from %s: %w", method, node, err)
	}
	return resp, nil
}

func (n *Node) serveCall(ctx context.Context, _, method string, body []byte) ([]byte, error) {
	fn := n.calls[method]
	if fn == nil {
		return nil, fmt.Errorf("no method %s", method)
	}
	return fn(ctx, body)
}

type none struct{}

func (n *Node) registerCalls() {
	n.calls, n.local = map[string]func(context.Context, []byte) ([]byte, error){}, map[string]any{}
	register(n, "sync", n.merge)
	register(n, "event", n.events.receive)
	register(n, "local", n.serveLocal)
	register(n, "ping", func(context.Context, none) (none, error) {
		if n.maintained() {
			return none{}, n.inMaintenance()
		}
		return none{}, nil
	})
	n.registerShardCalls()
}
