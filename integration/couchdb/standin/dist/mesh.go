package dist

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// setupTime bounds one attempt to connect (Erlang's net_setuptime).
const setupTime = 7 * time.Second

// afterFailure is how long a failed attempt answers for the next ones.
const afterFailure = time.Second

// Mesh is this node's side of the distribution.
type Mesh struct {
	Self     string // couchdb@host
	Cookie   string
	Bind     string
	EPMDPort int
	DistPort int
	// Handler serves calls and casts of other nodes.
	Handler func(ctx context.Context, from, method string, body []byte) ([]byte, error)
	// OnUp is told of each node that becomes connected.
	OnUp func(node string)

	listeners []net.Listener

	mu      sync.Mutex
	links   map[string][]*link
	pending map[string]*attempt
}

type attempt struct {
	done chan struct{}
	err  error
	at   time.Time
}

// New makes a mesh that can connect; its exported fields are set before use.
func New() *Mesh {
	return &Mesh{links: map[string][]*link{}, pending: map[string]*attempt{}}
}

// Listen opens both ports.
func (m *Mesh) Listen() error {
	for _, port := range []int{m.EPMDPort, m.DistPort} {
		l, err := net.Listen("tcp", net.JoinHostPort(m.Bind, strconv.Itoa(port)))
		if err != nil {
			return fmt.Errorf("listen for other nodes: %w", err)
		}
		m.listeners = append(m.listeners, l)
	}
	alive, _, _ := strings.Cut(m.Self, "@")
	go serveEPMD(m.listeners[0], alive, m.DistPort)
	go m.accept(m.listeners[1])
	return nil
}

func (m *Mesh) accept(l net.Listener) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		go func() {
			if err := m.welcome(c); err != nil {
				c.Close() //nolint:errcheck // not a node of ours
			}
		}()
	}
}

// welcome takes a fresh connection through the handshake and into the mesh.
func (m *Mesh) welcome(c net.Conn) error {
	l, knows, err := m.handshake(c)
	if err != nil {
		return err
	}
	m.mu.Lock()
	first := len(m.links[l.peer]) == 0
	m.links[l.peer] = append(m.links[l.peer], l)
	m.mu.Unlock()
	go func() {
		l.run()
		m.mu.Lock()
		defer m.mu.Unlock()
		m.links[l.peer] = slices.DeleteFunc(m.links[l.peer], func(o *link) bool { return o == l })
		if len(m.links[l.peer]) == 0 {
			delete(m.links, l.peer)
		}
	}()
	if first {
		if m.OnUp != nil {
			go m.OnUp(l.peer)
		}
		// Erlang's "global" makes one mesh of all that anybody knows.
		for _, node := range knows {
			if node != m.Self {
				go m.Connect(context.Background(), node) //nolint:errcheck // best effort
			}
		}
	}
	return nil
}

// Connected lists connected nodes, sorted, without this one.
func (m *Mesh) Connected() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	out := make([]string, 0, len(m.links))
	for node := range m.links {
		out = append(out, node)
	}
	slices.Sort(out)
	return out
}

func (m *Mesh) link(node string) *link {
	m.mu.Lock()
	defer m.mu.Unlock()
	if ls := m.links[node]; len(ls) > 0 {
		return ls[0]
	}
	return nil
}

// Connect makes sure there is a connection; attempts for one node are shared.
func (m *Mesh) Connect(ctx context.Context, node string) error {
	m.mu.Lock()
	if len(m.links[node]) > 0 {
		m.mu.Unlock()
		return nil
	}
	a := m.pending[node]
	if a == nil || (!a.at.IsZero() && time.Since(a.at) > afterFailure) {
		a = &attempt{done: make(chan struct{})}
		m.pending[node] = a
		go m.dial(node, a)
	}
	m.mu.Unlock()
	select {
	case <-a.done:
		return a.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (m *Mesh) dial(node string, a *attempt) {
	err := func() error {
		alive, host, ok := strings.Cut(node, "@")
		if !ok || node == m.Self {
			return fmt.Errorf("cannot connect to %q", node)
		}
		ctx, cancel := context.WithTimeout(context.Background(), setupTime)
		defer cancel()
		port, err := lookup(ctx, host, m.EPMDPort, alive)
		if err != nil {
			return err
		}
		var d net.Dialer
		c, err := d.DialContext(ctx, "tcp", net.JoinHostPort(host, strconv.Itoa(port)))
		if err != nil {
			return err
		}
		if err := m.welcome(c); err != nil {
			c.Close() //nolint:errcheck // refused
			return err
		}
		return nil
	}()
	m.mu.Lock()
	defer m.mu.Unlock()
	if err == nil {
		delete(m.pending, node)
	} else {
		a.err = fmt.Errorf("%w: connect to %s: %w", ErrDown, node, err)
		a.at = time.Now()
	}
	close(a.done)
}

// Call runs a method on a node, connecting first when needed.
func (m *Mesh) Call(ctx context.Context, node, method string, body []byte) ([]byte, error) {
	l := m.link(node)
	if l == nil {
		if err := m.Connect(ctx, node); err != nil {
			return nil, err
		}
		if l = m.link(node); l == nil {
			return nil, ErrDown
		}
	}
	return l.call(ctx, method, body)
}

// Cast tells every connected node something, without an answer.
func (m *Mesh) Cast(method string, body []byte) {
	for _, node := range m.Connected() {
		if l := m.link(node); l != nil {
			_ = l.send(&message{Kind: frameCast, Method: method, Body: body}) // lost nodes need no events
		}
	}
}
