package node

import (
	"context"
	"encoding/json"
	"slices"
	"sync"
	"time"

	"github.com/medic/cht-backup/integration/couchdb/standin/shardfile"
)

// reconnectEvery is how often members that are not connected are tried again.
const reconnectEvery = 2 * time.Second

// members lists cluster_nodes: everybody named in _nodes, this node's word only.
func (n *Node) members() []string {
	var out []string
	for _, d := range n.nodes.All() {
		if !d.Winner().Deleted {
			out = append(out, d.ID)
		}
	}
	slices.Sort(out)
	return out
}

func (n *Node) allNodes() []string {
	all := append(n.mesh.Connected(), n.set.Name)
	slices.Sort(all)
	return all
}

// keepConnected connects to every member named in _nodes, whoever wrote it there.
func (n *Node) keepConnected() {
	for {
		for _, node := range n.members() {
			if node != n.set.Name {
				go n.mesh.Connect(context.Background(), node) //nolint:errcheck // tried again below
			}
		}
		time.Sleep(reconnectEvery)
	}
}

// nodeUp gives a newly connected member everything this node knows.
func (n *Node) nodeUp(node string) {
	if !slices.Contains(n.members(), node) {
		return
	}
	n.pushAll(node)
}

func (n *Node) pushAll(node string) {
	for name, f := range map[string]*shardfile.File{"_nodes": n.nodes, "_dbs": n.dbs} {
		var ids []string
		for _, d := range f.All() {
			ids = append(ids, d.ID)
		}
		n.pushTo([]string{node}, name, f, ids)
	}
}

func (n *Node) nodesCommitted(ids []string) {
	for _, id := range ids {
		if d := n.nodes.Memory(id); id != n.set.Name && d != nil && !d.Winner().Deleted {
			go func() {
				if n.mesh.Connect(context.Background(), id) == nil {
					n.pushAll(id)
				}
			}()
		}
	}
	go n.push("_nodes", n.nodes, ids)
}

// push hands changed documents to every connected member and waits for each, so
// that a database just created is known everywhere.
func (n *Node) push(name string, f *shardfile.File, ids []string) {
	members := n.members()
	var live []string
	for _, node := range n.mesh.Connected() {
		if slices.Contains(members, node) {
			live = append(live, node)
		}
	}
	n.pushTo(live, name, f, ids)
}

type syncRequest struct {
	Name string
	Docs []syncDoc
}

type syncDoc struct {
	ID      string
	Pos     int
	Path    []string
	Deleted bool
	Body    json.RawMessage
}

func (n *Node) pushTo(nodes []string, name string, f *shardfile.File, ids []string) {
	if len(nodes) == 0 || len(ids) == 0 {
		return
	}
	req := syncRequest{Name: name}
	for _, id := range ids {
		d := f.Memory(id)
		if d == nil {
			continue
		}
		for _, l := range d.Leaves {
			if body, err := f.Body(d, l); err == nil {
				req.Docs = append(req.Docs, syncDoc{id, l.Pos, l.Path, l.Deleted, body})
			}
		}
	}
	var wg sync.WaitGroup
	for _, node := range nodes {
		wg.Go(func() {
			_, _ = call[none](context.Background(), n, node, "sync", req) // a lost node is synced when it is up again
		})
	}
	wg.Wait()
}

// merge takes another node's documents into _nodes or _dbs.
func (n *Node) merge(_ context.Context, req syncRequest) (none, error) {
	f := n.dbs
	if req.Name == "_nodes" {
		f = n.nodes
	}
	edits := make([]shardfile.Edit, 0, len(req.Docs))
	for _, d := range req.Docs {
		edits = append(edits, shardfile.Edit{ID: d.ID, Pos: d.Pos, Path: d.Path, Deleted: d.Deleted, Body: d.Body})
	}
	for _, r := range f.Update(edits) {
		if r.Err != nil {
			return none{}, r.Err
		}
	}
	return none{}, nil
}
