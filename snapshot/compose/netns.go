package compose

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

// transport connects as a process does: in its network namespace. A container's ports
// need not be published for that, nor its addresses be known or reachable, which differs
// from engine to engine.
func transport(pid int) *http.Transport {
	return &http.Transport{
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			return dialIn(ctx, pid, network, address)
		},
		MaxIdleConnsPerHost: 4, IdleConnTimeout: time.Minute,
	}
}

// dialIn makes a connection on a thread that has joined the namespace, and that ends with
// the call: a connection stays in the namespace that it was made in.
func dialIn(ctx context.Context, pid int, network, address string) (net.Conn, error) {
	path := fmt.Sprintf("/proc/%d/ns/net", pid)
	theirs, err := os.Readlink(path)
	if err != nil {
		return nil, fmt.Errorf("the network of process %d: %w", pid, err)
	}
	// Less than no delay: several addresses are dialed one after the other, on this thread.
	// Go races them on others, which have not joined. A name is looked up on this machine.
	dialer := net.Dialer{Timeout: 30 * time.Second, FallbackDelay: -1}
	// Of this thread: the process's first cannot end and stays where it once joined.
	if ours, err := os.Readlink("/proc/thread-self/ns/net"); err == nil && ours == theirs {
		return dialer.DialContext(ctx, network, address)
	}
	namespace, err := os.Open(path) //nolint:gosec // of /proc
	if err != nil {
		return nil, fmt.Errorf("the network of process %d: %w", pid, err)
	}
	defer namespace.Close() //nolint:errcheck // only entered
	type result struct {
		conn net.Conn
		err  error
	}
	made := make(chan result, 1)
	go func() {
		runtime.LockOSThread() // and never unlocked: Go ends the thread, nobody else gets it
		if err := unix.Setns(int(namespace.Fd()), unix.CLONE_NEWNET); err != nil {
			made <- result{err: fmt.Errorf("join the network of process %d (this needs root): %w", pid, err)}
			return
		}
		conn, err := dialer.DialContext(ctx, network, address)
		made <- result{conn, err}
	}()
	r := <-made
	return r.conn, r.err
}
