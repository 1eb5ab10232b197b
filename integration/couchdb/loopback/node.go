package loopback

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"

	"github.com/medic/cht-backup/integration/couchdb/standin/boot"
)

// role in the environment makes the program a node.
const role = "COUCHDB_LOOPBACK_NODE"

// Run makes this process a node if it was started to be one, and does not return
// then.
func Run() {
	if filepath.Base(os.Args[0]) == "beam.smp" || os.Getenv(role) != "" {
		os.Exit(boot.Main(os.Args[:1]))
	}
}

// Environment of node i, as of the CHT's image.
func Environment(hosts []string, i int, user, password string) []string {
	env := append(os.Environ(), "COUCHDB_USER="+user, "COUCHDB_PASSWORD="+password, "COUCHDB_SECRET=s3cret", "COUCHDB_UUID=cafe")
	if len(hosts) == 1 {
		return env
	}
	env = append(env, "SVC_NAME="+hosts[i], "NODE_COUNT="+strconv.Itoa(len(hosts)))
	if i == 0 {
		return append(env, "CLUSTER_PEER_IPS="+strings.Join(hosts[1:], ","))
	}
	return append(env, "COUCHDB_SYNC_ADMINS_NODE="+hosts[0])
}

// StandIn is what the environment has besides, for this very program to be a node
// on a host, with its volume in a folder.
func StandIn(host, dir string) []string {
	return []string{role + "=1", "COUCHDB_STANDIN_ROOT=" + dir, "COUCHDB_STANDIN_BIND=" + host}
}

// start starts node i and gives what ends it.
func (c *Cluster) start(ctx context.Context, i int) (stop func() error, err error) {
	env := Environment(c.Hosts, i, c.User, c.Password)
	for _, sub := range []string{"data", "etc/local.d"} {
		if err := os.MkdirAll(filepath.Join(c.Dirs[i], sub), 0o755); err != nil {
			return nil, err
		}
	}
	if script := os.Getenv(launchKey); script != "" {
		cmd := exec.CommandContext(ctx, script, "start", c.Hosts[i], c.Dirs[i])
		cmd.Env, cmd.Stderr = env, os.Stderr
		if _, err := cmd.Output(); err != nil {
			return nil, fmt.Errorf("%s start %s: %w", script, c.Hosts[i], err)
		}
		return func() error { return exec.Command(script, "stop", c.Hosts[i], c.Dirs[i]).Run() }, nil
	}
	exe, err := os.Executable()
	if err != nil {
		return nil, err
	}
	log, err := os.OpenFile(filepath.Join(c.Dirs[i], "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, err
	}
	defer func() { _ = log.Close() }() // the process has its own
	cmd := exec.Command(exe)
	cmd.Env = append(env, StandIn(c.Hosts[i], c.Dirs[i])...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := keeper()(cmd.Start); err != nil {
		return nil, fmt.Errorf("start a CouchDB on %s: %w", c.Hosts[i], err)
	}
	return func() error {
		_ = cmd.Process.Kill() // its VM dies with it
		_ = cmd.Wait()         // killed: the status says nothing new
		return nil
	}, nil
}

// keeper runs do on one thread that stays: a process with a death signal is tied to
// the thread that started it, and not to the program.
var keeper = sync.OnceValue(func() func(do func() error) error {
	jobs, errs := make(chan func() error), make(chan error)
	go func() {
		runtime.LockOSThread()
		for do := range jobs {
			errs <- do()
		}
	}()
	var one sync.Mutex
	return func(do func() error) error {
		one.Lock()
		defer one.Unlock()
		jobs <- do
		return <-errs
	}
})
