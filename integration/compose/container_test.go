package compose

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"
	"golang.org/x/sys/unix"

	"github.com/medic/cht-backup/snapshot/compose"
	"github.com/medic/cht-backup/snapshot/compose/engine"
	"github.com/medic/cht-backup/snapshot/compose/pause"
	"github.com/medic/cht-backup/snapshot/survey"
)

// beContainer is process 1 of a container: with processes, a network and mounts of its
// own, and CouchDB's files at the places of the CHT's image.
func beContainer() {
	err := func() error {
		socket, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM, 0)
		if err != nil {
			return err
		}
		lo, err := unix.NewIfreq("lo")
		if err != nil {
			return err
		}
		lo.SetUint16(unix.IFF_UP)
		if err := unix.IoctlIfreq(socket, unix.SIOCSIFFLAGS, lo); err != nil {
			return err
		}
		volume := os.Getenv("COMPOSE_TEST_VOLUME")
		self, err := os.ReadFile("/proc/self/exe")
		if err != nil {
			return err
		}
		return errors.Join(unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""), unix.Mount("none", "/opt", "tmpfs", 0, ""),
			os.Mkdir("/opt/couchdb", 0o755), unix.Mount(volume, "/opt/couchdb", "", unix.MS_BIND, ""), unix.Mount("proc", "/proc", "proc", 0, ""),
			// CouchDB's user may not read where tests are built, and what cannot be read cannot
			// name itself.
			os.WriteFile("/opt/node", self, 0o755), syscall.Exec("/opt/node", []string{"couchdb"}, append(os.Environ(), "COUCHDB_LOOPBACK_NODE=1"))) //nolint:gosec // this very program
	}()
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

// TestContainer backs up a CouchDB that nothing but the engine's word for its process
// leads to: its port is not published, its files are elsewhere on the host.
func TestContainer(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root, for namespaces of its own")
	}
	w := newWorld(t, 1)
	volume := filepath.Join(w.dir, "volume")
	if err := os.MkdirAll(volume, 0o755); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = []string{roleEnv + "=container", "COMPOSE_TEST_VOLUME=" + volume, "COUCHDB_USER=admin", "COUCHDB_PASSWORD=inside;only", "COUCHDB_SECRET=s", "COUCHDB_UUID=u", "PATH=" + os.Getenv("PATH")}
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWPID | syscall.CLONE_NEWNET | syscall.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL}
	// It dies with the thread that starts it, which therefore waits for it.
	started, ended := make(chan error, 1), make(chan struct{})
	go func() {
		defer close(ended)
		runtime.LockOSThread()
		started <- cmd.Start()
		_ = cmd.Wait() // killed: the status says nothing
	}()
	if err := <-started; err != nil {
		t.Skipf("no namespaces can be made here: %v", err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); <-ended })
	// Go may have the first thread join the container's network, where it stays then.
	joined := make(chan error)
	onMain <- func() {
		network, err := os.Open(fmt.Sprintf("/proc/%d/ns/net", cmd.Process.Pid))
		if err == nil {
			err = errors.Join(unix.Setns(int(network.Fd()), unix.CLONE_NEWNET), network.Close())
		}
		joined <- err
	}
	if err := <-joined; err != nil {
		t.Fatal(err)
	}
	looking := compose.Looking{Engine: fakeEngine(t, cmd.Process.Pid)}
	var instance compose.Instance
	for until := time.Now().Add(time.Minute); ; time.Sleep(50 * time.Millisecond) {
		var err error
		if instance, err = compose.Find(t.Context(), w.project, looking); err == nil {
			if _, err = answers(t.Context(), instance); err == nil {
				break
			}
		}
		if time.Now().After(until) {
			t.Fatal(err)
		}
	}
	twoAddresses(t)
	for _, host := range []string{"127.0.0.1", "[::1]", "two.test"} {
		given, err := compose.ParseGiven(fmt.Sprintf("couchdb=%d,url=http://%s:5984", cmd.Process.Pid, host))
		if err != nil {
			t.Fatal(err)
		}
		named, err := compose.Find(t.Context(), w.project, compose.Looking{Given: []compose.Given{given}})
		if err == nil {
			_, err = answers(t.Context(), named)
		}
		if err != nil {
			t.Errorf("named by hand at %s: %v", host, err)
		}
	}
	if instance.Password != "inside;only" || len(instance.Nodes) != 1 || !strings.HasPrefix(instance.Nodes[0].Data, "/proc/") || instance.Nodes[0].HostData != "/var/lib/docker/volumes/x/_data" {
		t.Errorf("found %+v", instance.Nodes)
	}
	done, err := compose.Backup{Bucket: w.bucket, Repository: w.repo, Namespace: namespace, Name: "container", Host: "host-1", Program: "test",
		Recipients: []string{w.key.Recipient().String()}, Guard: watchdog(), MaxStall: pause.Bound, Say: t.Logf}.Take(t.Context(), instance)
	if err != nil {
		t.Fatal(err)
	}
	if f := done.Record.Nodes[0].File; f.Files == 0 || done.Record.Images[0].ID != "registry.example.org/cht/cht-couchdb@sha256:0a" {
		t.Errorf("record %+v, images %+v", f, done.Record.Images)
	}
	w.given = nil
	looking.Engine = fakeEngine(t, 0)
	if _, err := compose.Find(t.Context(), w.project, looking); err == nil || !strings.Contains(err.Error(), "does not run") {
		t.Errorf("a container that is down: %v", err)
	}
}

// twoAddresses gives every name 127.0.0.1 and ::1.
func twoAddresses(t *testing.T) {
	before := net.DefaultResolver
	t.Cleanup(func() { net.DefaultResolver = before })
	net.DefaultResolver = &net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) {
		ours, theirs := net.Pipe()
		go func() {
			defer theirs.Close() //nolint:errcheck // a pipe
			if err := answerName(theirs); err != nil {
				t.Error(err)
			}
		}()
		return ours, nil
	}}
}

// answerName answers one question, as DNS by TCP: each message after its length.
func answerName(conn net.Conn) error {
	var size [2]byte
	if _, err := io.ReadFull(conn, size[:]); err != nil {
		return err
	}
	question := make([]byte, binary.BigEndian.Uint16(size[:]))
	if _, err := io.ReadFull(conn, question); err != nil {
		return err
	}
	var m dnsmessage.Message
	if err := m.Unpack(question); err != nil {
		return err
	}
	m.Response, m.Additionals = true, nil
	about := dnsmessage.ResourceHeader{Name: m.Questions[0].Name, Class: dnsmessage.ClassINET, TTL: 1}
	switch m.Questions[0].Type {
	case dnsmessage.TypeA:
		m.Answers = []dnsmessage.Resource{{Header: about, Body: &dnsmessage.AResource{A: [4]byte{127, 0, 0, 1}}}}
	case dnsmessage.TypeAAAA:
		m.Answers = []dnsmessage.Resource{{Header: about, Body: &dnsmessage.AAAAResource{AAAA: [16]byte{15: 1}}}}
	}
	answer, err := m.AppendPack(make([]byte, 2))
	if err != nil {
		return err
	}
	binary.BigEndian.PutUint16(answer, uint16(len(answer)-2)) //nolint:gosec // far below
	_, err = conn.Write(answer)
	return err
}

// answers tells whether CouchDB is set up: until then it may close connections.
func answers(ctx context.Context, i compose.Instance) (bool, error) {
	couch, err := survey.Join(ctx, i.Asked())
	if err != nil {
		return false, err
	}
	found, _, err := couch.Take(ctx)
	if _, there := found.ShardMaps["_global_changes"]; err == nil && !there {
		err = errors.New("it has no _global_changes yet")
	}
	return err == nil, err
}

// fakeEngine tells of one container with that process.
func fakeEngine(t *testing.T, pid int) *engine.Client {
	t.Helper()
	dir, err := os.MkdirTemp("", "engine") // a socket's path has to be short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	listener, err := net.Listen("unix", filepath.Join(dir, "s"))
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case strings.HasSuffix(r.URL.Path, "/containers/json"):
			_, _ = fmt.Fprint(w, `[{"Id":"c1","Labels":{"com.docker.compose.project":"demo"}}]`)
		case strings.Contains(r.URL.Path, "/containers/"):
			_, _ = fmt.Fprintf(w, `{"Id":"c1","Image":"sha256:1","State":{"Pid":%d},"Config":{"Image":"registry.example.org/cht/cht-couchdb:5.1.0","Env":["COUCHDB_USER=admin","COUCHDB_PASSWORD=inside;only"],
				"Labels":{"com.docker.compose.service":"couchdb"}},"Mounts":[{"Name":"x","Source":"/var/lib/docker/volumes/x/_data","Destination":"/opt/couchdb/data"}]}`, pid)
		default:
			_, _ = fmt.Fprint(w, `{"RepoDigests":["registry.example.org/cht/cht-couchdb@sha256:0a"]}`)
		}
	})}
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(func() { _ = server.Close() })
	return engine.New(filepath.Join(dir, "s"))
}
