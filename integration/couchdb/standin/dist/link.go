package dist

import (
	"bufio"
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/gob"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"
)

// The net tick: a peer silent for tickLimit is dropped, as Erlang drops one
// after 45 to 75 seconds. A stopped process therefore survives a short stop.
const (
	tickEvery = 15 * time.Second
	tickLimit = 60 * time.Second
)

type frameKind byte

const (
	frameTick frameKind = iota
	frameCall
	frameCast
	frameAnswer
)

type message struct {
	Kind   frameKind
	ID     uint64
	Method string
	Body   []byte
	Err    *RemoteError
}

type greeting struct {
	Name  string
	Nonce []byte
	Proof []byte
	Knows []string
}

// RemoteError is an error that a call's handler returned, kept whole so that the
// caller can answer a client as the handler would have.
type RemoteError struct {
	Status int
	Code   string
	Reason string
}

func (e *RemoteError) Error() string { return e.Code + ": " + e.Reason }

// ErrDown means that the node is not connected, or was lost during a call.
var ErrDown = errors.New("nodedown")

type link struct {
	mesh *Mesh
	peer string
	c    net.Conn
	out  *bufio.Writer
	enc  *gob.Encoder
	dec  *gob.Decoder
	wmu  sync.Mutex

	mu      sync.Mutex
	next    uint64
	waiting map[uint64]chan message
	closed  bool
}

// handshake proves both cookies. Each side proves knowledge over the other's nonce.
func (m *Mesh) handshake(c net.Conn) (*link, []string, error) {
	l := &link{mesh: m, c: c, out: bufio.NewWriter(c), waiting: map[uint64]chan message{}}
	l.enc, l.dec = gob.NewEncoder(l.out), gob.NewDecoder(bufio.NewReader(c))
	c.SetDeadline(time.Now().Add(7 * time.Second)) //nolint:errcheck // Erlang's net_setuptime
	nonce := make([]byte, 16)
	rand.Read(nonce) //nolint:errcheck // never fails
	var theirs, proof greeting
	if err := l.send(&greeting{Name: m.Self, Nonce: nonce, Knows: m.Connected()}); err != nil {
		return nil, nil, err
	}
	if err := l.dec.Decode(&theirs); err != nil {
		return nil, nil, err
	}
	if err := l.send(&greeting{Proof: m.proof(theirs.Nonce)}); err != nil {
		return nil, nil, err
	}
	if err := l.dec.Decode(&proof); err != nil {
		return nil, nil, err
	}
	if !hmac.Equal(proof.Proof, m.proof(nonce)) {
		return nil, nil, fmt.Errorf("node %s has another cookie", theirs.Name)
	}
	c.SetDeadline(time.Time{}) //nolint:errcheck
	l.peer = theirs.Name
	return l, theirs.Knows, nil
}

func (m *Mesh) proof(nonce []byte) []byte {
	h := hmac.New(sha256.New, []byte(m.Cookie))
	h.Write(nonce)
	return h.Sum(nil)
}

func (l *link) send(v any) error {
	l.wmu.Lock()
	defer l.wmu.Unlock()
	if err := l.enc.Encode(v); err != nil {
		return err
	}
	return l.out.Flush()
}

func (l *link) call(ctx context.Context, method string, body []byte) ([]byte, error) {
	answer := make(chan message, 1)
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		return nil, ErrDown
	}
	l.next++
	id := l.next
	l.waiting[id] = answer
	l.mu.Unlock()
	defer func() {
		l.mu.Lock()
		delete(l.waiting, id)
		l.mu.Unlock()
	}()
	if err := l.send(&message{Kind: frameCall, ID: id, Method: method, Body: body}); err != nil {
		l.c.Close() //nolint:errcheck // the reader notices and cleans up
		return nil, ErrDown
	}
	select {
	case a, ok := <-answer:
		switch {
		case !ok:
			return nil, ErrDown
		case a.Err != nil:
			return nil, a.Err
		}
		return a.Body, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// run reads until the connection ends.
func (l *link) run() {
	stop := make(chan struct{})
	go l.tick(stop)
	for {
		var msg message
		l.c.SetReadDeadline(time.Now().Add(tickLimit)) //nolint:errcheck // a TCP connection takes deadlines
		if err := l.dec.Decode(&msg); err != nil {
			break
		}
		switch msg.Kind {
		case frameCall:
			go l.serve(msg)
		case frameCast:
			// In order: an event must not overtake an older one.
			_, _ = l.mesh.Handler(context.Background(), l.peer, msg.Method, msg.Body)
		case frameAnswer:
			l.mu.Lock()
			if ch := l.waiting[msg.ID]; ch != nil {
				ch <- msg
				delete(l.waiting, msg.ID)
			}
			l.mu.Unlock()
		}
	}
	close(stop)
	l.c.Close() //nolint:errcheck // already failed
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	for id, ch := range l.waiting {
		close(ch)
		delete(l.waiting, id)
	}
}

func (l *link) serve(msg message) {
	body, err := l.mesh.Handler(context.Background(), l.peer, msg.Method, msg.Body)
	answer := message{Kind: frameAnswer, ID: msg.ID, Body: body}
	if err != nil {
		var re *RemoteError
		if !errors.As(err, &re) {
			re = &RemoteError{Status: 500, Code: "internal_server_error", Reason: err.Error()}
		}
		answer.Err = re
	}
	_ = l.send(&answer) // a broken link ends the call at the other side
}

func (l *link) tick(stop <-chan struct{}) {
	t := time.NewTicker(tickEvery)
	defer t.Stop()
	for {
		select {
		case <-t.C:
			_ = l.send(&message{Kind: frameTick})
		case <-stop:
			return
		}
	}
}
