package link

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"

	"golang.org/x/sync/semaphore"
)

// Port that copiers and fillers listen on.
const Port = 7443

// ServeOptions of both servers.
type ServeOptions struct {
	// Address to listen on; "" for Port on all addresses.
	Address string
	// Socket is a unix socket for admissions, in a directory of the container that nobody
	// else writes to.
	Socket string
	// Idle ends the server when it has had nothing to do for so long: the controller is
	// gone, and what is held is in the way. 0 for never.
	Idle time.Duration
}

// ErrIdle is why a server ended that nobody asked for anything.
var ErrIdle = errors.New("no request came, the controller is gone")

const (
	// mostTransfers is how many files are read or written at once. More requests wait.
	// Each has some 10 MiB.
	mostTransfers = 6
	// restful is how long a connection stays open that nothing is asked on.
	restful = 5 * time.Minute
)

// server is what copier and filler have in common: one peer, and an end.
type server struct {
	own       *identity
	idle      time.Duration
	transfers *semaphore.Weighted

	mu sync.Mutex
	// peer is who may speak, since ctx began and until it ends. No pin, nobody.
	peer   pin
	ctx    context.Context
	cancel context.CancelCauseFunc
	conns  map[net.Conn]bool
	busy   int
	quiet  time.Time // since when nothing is asked

	finished chan struct{}
	finish   func()
}

// errReplaced ends what an earlier peer is doing.
var errReplaced = errors.New("another controller was admitted")

func newServer(o ServeOptions) (*server, error) {
	own, err := newIdentity()
	if err != nil {
		return nil, err
	}
	s := &server{own: own, idle: o.Idle, transfers: semaphore.NewWeighted(mostTransfers), conns: map[net.Conn]bool{}, quiet: time.Now(), finished: make(chan struct{})}
	s.finish = sync.OnceFunc(func() { close(s.finished) })
	s.ctx, s.cancel = context.WithCancelCause(context.Background())
	return s, nil
}

// admit has a new peer, and cuts the one before it off: its connections, and what it
// has asked for.
func (s *server) admit(p pin) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cancel(errReplaced)
	s.ctx, s.cancel = context.WithCancelCause(context.Background())
	s.peer = p
	for c := range s.conns {
		go func() { _ = c.Close() }() // it says goodbye, which can take a moment
	}
	s.quiet = time.Now()
}

func (s *server) isPeer(p pin) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.peer != pin{} && s.peer.is(p)
}

// begin says that a request came, and gives the context of who asks it.
func (s *server) begin(state *tls.ConnectionState) (context.Context, error) {
	if state == nil || len(state.PeerCertificates) == 0 {
		return nil, errStranger
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	// The handshake was with the peer of its time.
	if s.peer == (pin{}) || !s.peer.is(pinOf(state.PeerCertificates[0].Raw)) {
		return nil, errReplaced
	}
	s.busy++
	return s.ctx, nil
}

func (s *server) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.busy--; s.busy == 0 {
		s.quiet = time.Now()
	}
}

// forgotten tells that nobody has asked for anything for too long.
func (s *server) forgotten() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.idle > 0 && s.busy == 0 && time.Since(s.quiet) > s.idle
}

func (s *server) connState(c net.Conn, state http.ConnState) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch state {
	case http.StateNew:
		s.conns[c] = true
	case http.StateClosed, http.StateHijacked:
		delete(s.conns, c)
	}
}

// run serves until it is finished, forgotten, or ctx ends.
func (s *server) run(ctx context.Context, o ServeOptions, handler http.Handler) error {
	if o.Address == "" {
		o.Address = fmt.Sprintf(":%d", Port)
	}
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", o.Address)
	if err != nil {
		return fmt.Errorf("listen for the controller: %w", err)
	}
	admissions, err := listenSocket(ctx, o.Socket)
	if err != nil {
		return errors.Join(err, listener.Close())
	}
	port := 0
	if a, is := listener.Addr().(*net.TCPAddr); is {
		port = a.Port
	}
	go s.listenForAdmissions(admissions, port)
	h := &http.Server{
		Handler: s.only(handler), ConnState: s.connState, ReadHeaderTimeout: 20 * time.Second, IdleTimeout: restful, MaxHeaderBytes: 16 << 10,
		ErrorLog: quietly, TLSNextProto: map[string]func(*http.Server, *tls.Conn, http.Handler){},
	}
	served := make(chan error, 1)
	go func() { served <- h.Serve(tls.NewListener(listener, s.own.config(s.isPeer))) }()
	err = s.wait(ctx, served)
	_ = admissions.Close()
	last, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if err != nil || h.Shutdown(last) != nil { // the answer to the last request goes out
		s.cancel(errors.New("the server ends"))
		_ = h.Close()
	}
	return err
}

func (s *server) wait(ctx context.Context, served <-chan error) error {
	tick := time.NewTicker(max(min(s.idle/4, 10*time.Second), 10*time.Millisecond))
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case err := <-served:
			return fmt.Errorf("serve the controller: %w", err)
		case <-s.finished:
			return nil
		case <-tick.C:
			if s.forgotten() {
				return fmt.Errorf("nothing to do for %v: %w", s.idle, ErrIdle)
			}
		}
	}
}

// listenForAdmissions takes one after the other until the socket is closed.
func (s *server) listenForAdmissions(l net.Listener, port int) {
	for {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		go func() {
			defer func() { _ = conn.Close() }()
			_ = conn.SetDeadline(time.Now().Add(admitWithin))
			if err := askAdmission(conn, s.own, port, s.admit); err != nil {
				quietly.Printf("an admission failed: %v", err)
			}
		}()
	}
}
