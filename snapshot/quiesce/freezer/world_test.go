package freezer

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"syscall"
	"testing/synctest"
	"time"

	"github.com/medic/cht-backup/snapshot/quiesce"
	"github.com/medic/cht-backup/snapshot/quiesce/protocol"
)

// The world of the explored freeze: what lies between the real parts (quiesce.Stall,
// hold, watch, Guard). Nothing moves here by itself: the explorer delivers each message,
// ends each system call, kills each process, and lets the clock go on.

// step is by how much the explored clock goes on; modelStall is the bound of a stall.
// The controller gives up between the second and the third step, a node's own deadline
// is at the third after its hold, its watchdog's at the fourth.
const (
	step       = 250 * time.Millisecond
	modelStall = 4 * step
)

// wire is one direction of a stream.
type wire struct {
	sent    []string // not delivered yet
	heard   string   // delivered, for the state's name
	ended   bool     // end of input follows what was sent
	closed  bool     // and has been delivered
	got     chan string
	rest    string
	discard bool // the sender is dead: what it still does has no effect
}

func newWire() *wire { return &wire{got: make(chan string, 16)} }

func (w *wire) Write(p []byte) (int, error) {
	if w.closed {
		return 0, io.ErrClosedPipe
	}
	if !w.ended && !w.discard {
		w.sent = append(w.sent, string(p))
	}
	return len(p), nil
}

func (w *wire) Close() error { w.ended = true; return nil }

func (w *wire) Read(p []byte) (n int, err error) {
	if w.rest == "" {
		line, open := <-w.got
		if !open {
			return 0, io.EOF
		}
		w.rest = line
	}
	n = copy(p, w.rest)
	w.rest = w.rest[n:]
	return n, nil
}

func (w *wire) String() string {
	var sent string
	for _, line := range w.sent {
		sent += word(line)
	}
	return fmt.Sprintf("[%s<%s %v %v %v]", w.heard, sent, w.ended, w.closed, w.discard)
}

func (w *wire) pending() bool { return !w.closed && (len(w.sent) > 0 || w.ended) }

func (w *wire) deliver() {
	if len(w.sent) == 0 {
		w.closed, w.heard = true, w.heard+"."
		close(w.got)
		return
	}
	line := w.sent[0]
	w.sent = w.sent[1:]
	w.heard += word(line)
	w.got <- line
}

// word is a message without its times.
func word(line string) string {
	var m protocol.Message
	if json.Unmarshal([]byte(line), &m) != nil {
		return strings.TrimSpace(line) + " "
	}
	return fmt.Sprintf("%s/%v ", m.State, m.Held)
}

// node is a machine with one volume, and the freezer pods that were made there: one for
// each session of a controller.
type node struct {
	world  *world
	name   string
	bound  time.Duration
	frozen bool
	since  time.Time
	pods   []*pod
}

// process has a descriptor of the volume. What a dead one does has no effect.
type process struct {
	node *node
	dead bool
	hung chan struct{} // its next thaw waits for this
	slow bool          // its FIFREEZE takes until the explorer ends it
	gate chan error    // FIFREEZE is under way
}

func (p *process) Sync() error { return nil }

func (p *process) Freeze() error {
	if p.slow {
		p.gate = make(chan error)
		err := <-p.gate
		p.gate = nil
		if err != nil {
			return err
		}
	}
	if p.node.frozen {
		return syscall.EBUSY
	}
	p.node.frozen, p.node.since = true, time.Now()
	return nil
}

func (p *process) Thaw() error {
	if p.hung != nil {
		<-p.hung
	}
	if p.dead || !p.node.frozen {
		return ErrNotFrozen
	}
	p.node.thaw()
	return nil
}

func (n *node) thaw() {
	n.frozen = false
	for _, s := range n.world.sessions {
		s.broken = s.broken || s.cutting
	}
}

// pod is one freezer pod: two containers that kubelet starts again, and one hold.
type pod struct {
	node              *node
	guard, dog, hold  *process
	stopGuard, hangUp func()
	arm               func(net.Conn)
	line              net.Conn // the hold's end of its connection with the watchdog
	down, up          *wire
	asked             time.Time // when the hold was asked to freeze
	gone              bool
	lost              bool // the watchdog that was armed is no more
}

func newPod(n *node) *pod {
	p := &pod{node: n, down: newWire(), up: newWire()}
	p.startGuard()
	p.startDog()
	p.hold = &process{node: n}
	var theirs net.Conn
	p.line, theirs = net.Pipe()
	p.arm(theirs)
	go func() {
		_ = hold(context.Background(), p.down, p.up, p.hold, ofHold{p.line, p.hold}, n.bound)
		_ = p.line.Close()
		_ = p.up.Close()
		p.hold.dead = true
	}()
	return p
}

// ofHold is what a hold says to its watchdog, while it lives.
type ofHold struct {
	io.ReadWriter
	hold *process
}

func (o ofHold) Write(b []byte) (int, error) {
	if o.hold.dead {
		return 0, io.ErrClosedPipe
	}
	return o.ReadWriter.Write(b)
}

func (p *pod) startGuard() {
	p.guard = &process{node: p.node}
	ctx, stop := context.WithCancel(context.Background())
	p.stopGuard = stop
	go func(g *process) { _ = Guard(ctx, g) }(p.guard)
}

func (p *pod) startDog() {
	p.dog = &process{node: p.node}
	ctx, stop := context.WithCancel(context.Background())
	l := &listener{conns: make(chan net.Conn, 4)}
	p.arm = func(c net.Conn) { l.all = append(l.all, c); l.conns <- c }
	p.hangUp = func() {
		stop()
		for _, c := range l.all {
			_ = c.Close()
		}
	}
	go func(d *process) { _ = watch(ctx, d, func() (net.Listener, error) { return l, nil }) }(p.dog)
}

// killFreezer is the end of the container freezer, and of the hold that runs in it:
// the kernel ends a process that is inside FIFREEZE only when that call returns.
func (p *pod) killFreezer() {
	p.guard.dead = true
	p.stopGuard()
	if p.hold.dead {
		return
	}
	p.hold.dead, p.up.discard = true, true
	p.endHold()
}

func (p *pod) endHold() {
	if p.hold.gate != nil {
		return
	}
	_ = p.line.Close()
	p.up.ended = true
	if !p.down.closed {
		p.down.sent, p.down.ended = nil, true
		p.down.deliver()
	}
	if p.hold.hung != nil {
		close(p.hold.hung)
		p.hold.hung = nil
	}
}

func (p *pod) killDog() { p.dog.dead, p.lost = true, true; p.hangUp() }

// listener takes the place of the watchdog's socket.
type listener struct {
	conns chan net.Conn
	all   []net.Conn
	once  sync.Once
}

func (l *listener) Accept() (net.Conn, error) {
	if c, open := <-l.conns; open {
		return c, nil
	}
	return nil, net.ErrClosed
}
func (l *listener) Close() error   { l.once.Do(func() { close(l.conns) }); return nil }
func (l *listener) Addr() net.Addr { return nil }

// session is one controller's stall of all nodes.
type session struct {
	pods                  []*pod
	cutting, broken, over bool
	dead                  bool // the controller was killed
	answer                chan error
	given                 string
	err                   error
}

// begin starts the pods of a session and the real Stall over them. Its cut takes no
// notice of its context: it returns when the explorer lets it, however late.
func (w *world) begin() {
	s := &session{answer: make(chan error, 1)}
	w.sessions = append(w.sessions, s)
	for _, n := range w.nodes {
		p := newPod(n)
		n.pods, s.pods = append(n.pods, p), append(s.pods, p)
	}
	synctest.Wait()
	for _, p := range s.pods {
		p.up.deliver() // ready: nothing is held before
	}
	go func() {
		var streams []*quiesce.Stream
		for i, p := range s.pods {
			stream, err := quiesce.Talk(context.Background(), fmt.Sprint("couchdb-", i+1), p.down, p.up)
			if err != nil {
				panic(err)
			}
			streams = append(streams, stream)
		}
		_, s.err = quiesce.Stall(context.Background(), streams, w.stall, func(context.Context) error {
			s.cutting = true
			for _, n := range w.nodes {
				s.broken = s.broken || !n.frozen
			}
			err := <-s.answer
			s.cutting = false
			return err
		})
		s.over = true
	}()
	synctest.Wait()
}

var errCut = errors.New("the storage refused")
