package quiesce

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/snapshot/quiesce/protocol"
	"github.com/medic/cht-backup/snapshot/reason"
)

// fakeNode is one node and its stream: it answers hold and release as told, and
// keeps what happened to it.
type fakeNode struct {
	*Stream
	say chan protocol.Message

	mu     sync.Mutex
	held   bool
	events []string
}

// behaviour of a node; the zero value is a good one.
type behaviour struct {
	holdAfter    time.Duration
	releaseAfter time.Duration
	noHold       bool              // never answers hold
	onHold       *protocol.Message // instead of "held"
	onRelease    *protocol.Message // instead of "released, held"
	dieOn        string            // the stream ends at this command
	sendErr      string            // sending this command fails
}

func newNode(name string, b behaviour) *fakeNode {
	n := &fakeNode{say: make(chan protocol.Message, 4)}
	// One command after the other, as the node's script does; the end of the input
	// releases.
	commands := make(chan string, 4)
	go func() {
		for command := range commands {
			n.note(command)
			n.obey(command, b)
		}
		n.set(false)
	}()
	end := sync.OnceFunc(func() { close(commands) })
	n.Stream = &Stream{node: name, messages: n.say, ended: func() error { return errors.New("exec ended: connection reset") },
		send: func(command string) error {
			switch command {
			case b.sendErr:
				return errors.New("broken pipe")
			case b.dieOn:
				close(n.say)
				end()
			default:
				commands <- command
			}
			return nil
		},
		close: func() { n.note("close"); end() },
	}
	return n
}

func (n *fakeNode) obey(command string, b behaviour) {
	switch command {
	case protocol.Hold:
		if b.noHold {
			return
		}
		time.Sleep(b.holdAfter)
		m := protocol.Message{State: protocol.Held}
		if b.onHold != nil {
			m = *b.onHold
		}
		n.set(m.State == protocol.Held)
		n.say <- m
	case protocol.Release:
		m := protocol.Message{State: protocol.Released, Held: n.isHeld()}
		if b.onRelease != nil {
			m = *b.onRelease
		}
		time.Sleep(b.releaseAfter)
		n.set(false)
		n.note("released")
		n.say <- m
	}
}

func (n *fakeNode) note(event string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.events = append(n.events, event)
}

func (n *fakeNode) set(held bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.held = held
}

func (n *fakeNode) saw(event string) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Contains(n.events, event)
}

// releasedBeforeClose: hanging up on a node that is held is no orderly release.
func (n *fakeNode) releasedBeforeClose(t *testing.T) {
	t.Helper()
	n.mu.Lock()
	defer n.mu.Unlock()
	if released := slices.Index(n.events, "released"); released < 0 || released > slices.Index(n.events, "close") {
		t.Errorf("%s was not waited for: %v", n.node, n.events)
	}
}

func (n *fakeNode) isHeld() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.held
}

// nodes makes one node for each behaviour.
func nodes(bs ...behaviour) (all []*fakeNode, streams []*Stream) {
	for i, b := range bs {
		n := newNode("couchdb-"+string(rune('1'+i)), b)
		all, streams = append(all, n), append(streams, n.Stream)
	}
	return all, streams
}

const bound = 10 * time.Second

func TestStall(t *testing.T) {
	broken := protocol.Message{State: protocol.Released, Reason: api.ReasonQuiesceLost, Text: "the watchdog was lost"}
	refused := func(word string) *protocol.Message {
		return &protocol.Message{State: protocol.Error, Reason: word, Text: "why"}
	}
	untilEnd := func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }
	tests := []struct {
		name  string
		nodes []behaviour
		cut   func(ctx context.Context, all []*fakeNode) error
		// reason of the error, "" for success; final as in reason.Error.
		reason string
		final  bool
		text   string // in the error
		noCut  bool   // cut must not be called
		within time.Duration
	}{
		{name: "all good", nodes: make([]behaviour, 3)},
		{name: "no node (mode None)"},
		{name: "slow to hold", nodes: []behaviour{{}, {holdAfter: 9 * time.Second}, {}}},
		{name: "the cut fails", nodes: make([]behaviour, 3), reason: api.ReasonSnapshotFailed, text: "driver says no",
			cut: func(context.Context, []*fakeNode) error {
				return reason.Failed(api.ReasonSnapshotFailed, "driver says no")
			}},
		{name: "one node refuses", nodes: []behaviour{{}, {onHold: refused(api.ReasonQuiesceUnavailable)}, {}}, noCut: true,
			reason: api.ReasonQuiesceUnavailable, text: "couchdb-2: error why"},
		{name: "one volume is shared", nodes: []behaviour{{}, {onHold: refused(api.ReasonSharedFileSystem)}}, noCut: true,
			reason: api.ReasonSharedFileSystem, final: true, text: "couchdb-2"},
		{name: "one node's stream ends at hold", nodes: []behaviour{{}, {dieOn: protocol.Hold}}, noCut: true,
			reason: api.ReasonQuiesceLost, text: "couchdb-2: exec ended"},
		{name: "hold cannot be sent", nodes: []behaviour{{sendErr: protocol.Hold}, {}}, noCut: true, reason: api.ReasonQuiesceLost, text: "couchdb-1: send hold"},
		{name: "one node never answers", nodes: []behaviour{{}, {noHold: true}, {}}, noCut: true,
			reason: api.ReasonStallExceeded, final: true, text: "couchdb-2", within: bound},
		{name: "held comes after the bound", nodes: []behaviour{{}, {holdAfter: bound}}, noCut: true,
			reason: api.ReasonStallExceeded, final: true, text: "couchdb-2"},
		{name: "the cut is too slow", nodes: make([]behaviour, 3), reason: api.ReasonStallExceeded, final: true, text: "maxStall (10s)", within: bound,
			cut: func(ctx context.Context, _ []*fakeNode) error { return untilEnd(ctx) }},
		{name: "the cut is too slow and says that it went well", nodes: make([]behaviour, 3), reason: api.ReasonStallExceeded, final: true,
			cut: func(ctx context.Context, _ []*fakeNode) error { <-ctx.Done(); return nil }},
		{name: "a node is lost during the cut", nodes: make([]behaviour, 3), reason: api.ReasonQuiesceLost, text: "couchdb-2: released the watchdog was lost", within: time.Second,
			cut: func(ctx context.Context, all []*fakeNode) error {
				all[1].set(false)
				all[1].say <- broken
				return untilEnd(ctx)
			}},
		{name: "a node's stream ends during the cut", nodes: make([]behaviour, 3), reason: api.ReasonQuiesceLost, text: "couchdb-3", within: time.Second,
			cut: func(ctx context.Context, all []*fakeNode) error {
				close(all[2].say)
				return untilEnd(ctx)
			}},
		{name: "a node speaks and the cut takes no notice", nodes: make([]behaviour, 3), reason: api.ReasonQuiesceLost, text: "couchdb-2",
			cut: func(_ context.Context, all []*fakeNode) error {
				all[1].say <- broken
				time.Sleep(time.Second)
				return nil
			}},
		{name: "a node speaks just as the cut ends", nodes: make([]behaviour, 3), reason: api.ReasonQuiesceLost, text: "couchdb-2",
			cut: func(_ context.Context, all []*fakeNode) error { all[1].say <- broken; return nil }},
		{name: "a node was not held at the release", nodes: []behaviour{{}, {onRelease: &broken}, {}}, reason: api.ReasonQuiesceLost, text: "broken before the release"},
		{name: "the release is answered with an error", nodes: []behaviour{{onRelease: refused("")}, {}}, reason: api.ReasonQuiesceLost, text: "couchdb-1"},
		{name: "a stream ends at the release", nodes: []behaviour{{}, {dieOn: protocol.Release}}, reason: api.ReasonQuiesceLost, text: "couchdb-2"},
		{name: "release cannot be sent", nodes: []behaviour{{}, {sendErr: protocol.Release}}, reason: api.ReasonQuiesceLost, text: "couchdb-2: send release"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				all, streams := nodes(tt.nodes...)
				cutCalled, began := false, time.Now()
				times, err := Stall(t.Context(), streams, bound, func(ctx context.Context) error {
					cutCalled = true
					for _, n := range all {
						if !n.isHeld() {
							t.Errorf("%s is not held while the cut runs", n.node)
						}
					}
					if tt.cut == nil {
						return nil
					}
					return tt.cut(ctx, all)
				})
				took := time.Since(began) // of the bubble's clock
				if cutCalled == tt.noCut {
					t.Errorf("cut called: %v", cutCalled)
				}
				e := reason.Of(err)
				switch {
				case tt.reason == "" && err != nil:
					t.Errorf("error %v", err)
				case tt.reason != "" && (e == nil || e.Reason != tt.reason || e.Final != tt.final || !strings.Contains(err.Error(), tt.text)):
					t.Errorf("error %v (%+v), want reason %s, final %v, text %q", err, e, tt.reason, tt.final, tt.text)
				}
				time.Sleep(bound) // what comes late comes now
				for _, n := range all {
					if n.isHeld() || !n.saw("close") {
						t.Errorf("%s: still held %v, events %v", n.node, n.held, n.events)
					}
				}
				if tt.within > 0 && took > tt.within {
					t.Errorf("took %s of at most %s", took, tt.within)
				}
				if !slices.IsSortedFunc([]time.Time{times.Start, times.Quiesced, times.Cut, times.Released}, time.Time.Compare) || times.Start.IsZero() {
					t.Errorf("the moments are out of order: %+v", times)
				}
			})
		})
	}
}

// The cut begins when the last node is held, not before.
func TestStallIsABarrier(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, streams := nodes(behaviour{holdAfter: time.Second}, behaviour{holdAfter: 3 * time.Second}, behaviour{holdAfter: 2 * time.Second})
		began := time.Now()
		times, err := Stall(t.Context(), streams, bound, func(context.Context) error {
			if waited := time.Since(began); waited != 3*time.Second {
				t.Errorf("the cut began after %s, want 3s: all are asked at once, and the last is waited for", waited)
			}
			time.Sleep(2 * time.Second)
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if q, c := times.Quiesced.Sub(times.Start), times.Cut.Sub(times.Quiesced); q != 3*time.Second || c != 2*time.Second {
			t.Errorf("quiesce %s, cut %s", q, c)
		}
	})
}

// The operator's cancellation, or SIGTERM to the controller, ends the cut; the
// nodes are released all the same, by asking and not by hanging up.
func TestStallReleasesWhenCancelled(t *testing.T) {
	for name, at := range map[string]time.Duration{"before": 0, "while the nodes stop": time.Second, "during the cut": 4 * time.Second} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				all, streams := nodes(behaviour{releaseAfter: time.Second}, behaviour{holdAfter: 2 * time.Second}, behaviour{releaseAfter: time.Second})
				ctx, cancel := context.WithCancel(t.Context())
				if at == 0 {
					cancel()
				} else {
					time.AfterFunc(at, cancel)
				}
				_, err := Stall(ctx, streams, bound, func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() })
				if err == nil {
					t.Error("a cancelled stall is no success")
				}
				time.Sleep(bound)
				for _, n := range all {
					if n.isHeld() {
						t.Errorf("%s is held for ever", n.node)
					}
					n.releasedBeforeClose(t)
				}
			})
		})
	}
}

// "held" comes when nobody waits for it any more: the release is still waited for.
func TestStallWaitsForALateNode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		all, streams := nodes(behaviour{}, behaviour{holdAfter: bound + time.Second, releaseAfter: time.Second})
		if _, err := Stall(t.Context(), streams, bound, nil); err == nil {
			t.Error("no error")
		}
		all[1].releasedBeforeClose(t)
	})
}

// A node that hangs in its release does not keep the others.
func TestStallReleaseIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		all, streams := nodes(behaviour{}, behaviour{}, behaviour{})
		send := streams[1].send
		streams[1].send = func(command string) error {
			if command == protocol.Release {
				return nil // lost on the way
			}
			return send(command)
		}
		began := time.Now()
		_, err := Stall(t.Context(), streams, bound, func(context.Context) error { return nil })
		if e := reason.Of(err); e == nil || !strings.Contains(err.Error(), "couchdb-2") {
			t.Errorf("error %v", err)
		}
		if took := time.Since(began); took != releaseBound {
			t.Errorf("took %s", took)
		}
		if !all[1].saw("close") || !all[0].saw(protocol.Release) || !all[2].saw(protocol.Release) {
			t.Error("not all released")
		}
	})
}

func TestNodeBoundLiesBeforeTheStalls(t *testing.T) {
	for _, max := range []time.Duration{500 * time.Millisecond, time.Second, time.Minute} {
		if b := NodeBound(max); b <= 0 || b >= max {
			t.Errorf("a stall of %s gives the node %s", max, b)
		}
	}
	for max, want := range map[time.Duration]string{time.Minute: "1.750", 2 * time.Second: "1.750", 500 * time.Millisecond: "0.250"} {
		if command := PauseCommand(max); command[len(command)-1] != want {
			t.Errorf("a pause of at most %s is given %q s, want %s", max, command[len(command)-1], want)
		}
	}
}
