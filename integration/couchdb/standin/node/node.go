package node

import (
	"context"
	"fmt"
	"log"
	"net"
	"net/http"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/medic/cht-backup/integration/couchdb/standin/dist"
	"github.com/medic/cht-backup/integration/couchdb/standin/ini"
	"github.com/medic/cht-backup/integration/couchdb/standin/shardfile"
)

// Version is the CouchDB that is stood in for.
const Version = "3.5.2"

// Node is a running node.
type Node struct {
	set   Settings
	conf  *ini.Config
	slots shardfile.Slots
	mesh  *dist.Mesh
	start time.Time
	calls map[string]func(ctx context.Context, body []byte) ([]byte, error)
	local map[string]any // the same methods, typed, for calls to this node itself

	fmu   sync.Mutex
	files map[string]*opening

	dbs   *shardfile.File // shard maps
	nodes *shardfile.File // members

	maps     mapCache
	events   eventHub
	auth     authCache
	views    viewSet
	requests atomic.Int64
}

type opening struct {
	once sync.Once
	f    *shardfile.File
	err  error
}

// Run starts the node and serves until the HTTP listener fails.
func Run(set Settings) error {
	raiseFiles()
	n, err := open(set)
	if err != nil {
		return err
	}
	l, err := net.Listen("tcp", net.JoinHostPort(set.Bind, strconv.Itoa(set.HTTPPort)))
	if err != nil {
		return fmt.Errorf("listen for clients: %w", err)
	}
	if err := n.mesh.Listen(); err != nil {
		return err
	}
	go n.keepConnected()
	log.Printf("%s serves http://%s", set.Name, l.Addr())
	// No timeouts: a stalled disk makes clients wait, and nothing fails.
	return (&http.Server{Handler: n}).Serve(l)
}

// raiseFiles lifts the soft limit of open files: every shard ever used stays open.
func raiseFiles() {
	var lim syscall.Rlimit
	if syscall.Getrlimit(syscall.RLIMIT_NOFILE, &lim) == nil && lim.Cur < lim.Max {
		lim.Cur = lim.Max
		_ = syscall.Setrlimit(syscall.RLIMIT_NOFILE, &lim) // as many as allowed
	}
}

func open(set Settings) (*Node, error) {
	n := &Node{set: set, slots: shardfile.NewSlots(set.IOSlots), start: time.Now(), files: map[string]*opening{}}
	var err error
	if n.conf, err = ini.Load(defaults(), set.IniFiles()); err != nil {
		return nil, err
	}
	n.conf.Guard = n.slots.Do
	if err := n.hashAdmins(); err != nil {
		return nil, err
	}
	n.events.init(n)
	n.mesh = dist.New()
	n.mesh.Self, n.mesh.Cookie = set.Name, set.Cookie
	n.mesh.Bind, n.mesh.EPMDPort, n.mesh.DistPort = set.Bind, set.EPMDPort, set.DistPort
	n.mesh.Handler, n.mesh.OnUp = n.serveCall, n.nodeUp
	n.registerCalls()
	if n.nodes, err = n.openFile("_nodes"); err != nil {
		return nil, err
	}
	if n.dbs, err = n.openFile("_dbs"); err != nil {
		return nil, err
	}
	// CouchDB keeps an empty node-local _users beside the clustered one.
	if _, err = n.openFile("_users"); err != nil {
		return nil, err
	}
	n.loadMaps()
	n.dbs.OnCommit = n.mapsCommitted
	n.nodes.OnCommit = n.nodesCommitted
	// A node always lists itself, whatever names came with the volume.
	if d := n.nodes.Doc(set.Name); d == nil || d.Winner().Deleted {
		if r := n.nodes.Update([]shardfile.Edit{{ID: set.Name, Body: []byte("{}")}})[0]; r.Err != nil {
			return nil, fmt.Errorf("enter %s in _nodes: %w", set.Name, r.Err)
		}
	}
	return n, nil
}

// openFile opens a node-local database by name: _dbs, shards/RANGE/db.SUFFIX.
// It creates what is not there.
func (n *Node) openFile(name string) (*shardfile.File, error) {
	n.fmu.Lock()
	o := n.files[name]
	if o == nil {
		o = &opening{}
		n.files[name] = o
	}
	n.fmu.Unlock()
	o.once.Do(func() {
		o.f, o.err = shardfile.Open(n.slots, n.filePath(name))
		if o.err == nil && strings.HasPrefix(name, "shards/") {
			db := dbOfShard(name)
			o.f.OnCommit = func(ids []string) { n.events.committed(db, ids) }
		}
	})
	if o.err != nil {
		n.fmu.Lock()
		if n.files[name] == o {
			delete(n.files, name) // the next request tries again
		}
		n.fmu.Unlock()
	}
	return o.f, o.err
}

func (n *Node) filePath(name string) string {
	return filepath.Join(n.set.DataDir(), filepath.FromSlash(name)+".couch")
}

// removeFile deletes a shard and its indexes.
func (n *Node) removeFile(name string) error {
	f, err := n.openFile(name)
	if err != nil {
		return err
	}
	n.fmu.Lock()
	delete(n.files, name)
	n.fmu.Unlock()
	n.views.drop(n, name)
	return f.Remove()
}

func (n *Node) maintenance() string {
	v, _ := n.conf.Get("couchdb", "maintenance_mode")
	return v
}

// maintained says whether the node refuses shard work.
func (n *Node) maintained() bool { return n.maintenance() == "true" }
