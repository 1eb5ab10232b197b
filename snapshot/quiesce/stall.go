package quiesce

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/snapshot/quiesce/protocol"
	"github.com/medic/cht-backup/snapshot/reason"
)

// PauseBound is the longest pause ever asked for: CouchDB's own calls time out
// after 5 s, and HAProxy's check drops a paused cluster after one.
const PauseBound = 2 * time.Second

// margin is by how much a node's own deadline lies before the stall's bound, so
// that the thaw itself is done by then. The watchdog's deadline is the bound.
const margin = 250 * time.Millisecond

// releaseBound is how long a node may take to answer a release. It is not a
// bound of the stall: by then the node's own deadline has long passed.
const releaseBound = 15 * time.Second

// NodeBound is the deadline a node is given for a stall of at most maxStall.
func NodeBound(maxStall time.Duration) time.Duration { return maxStall - margin }

// Times are the moments of one stall.
type Times struct {
	Start, Quiesced, Cut, Released time.Time
}

// Stall holds all nodes, calls cut, and releases them, whatever happens. The
// cut's context ends in time for the release to lie within maxStall, and at
// once when a node is lost. A nil error proves that cut ran and returned while
// every node was held.
func Stall(ctx context.Context, streams []*Stream, maxStall time.Duration, cut func(context.Context) error) (Times, error) {
	times := Times{Start: time.Now()}
	bound := maxStall - margin - margin/2
	held, cancel := context.WithTimeoutCause(ctx, bound,
		reason.Refuse(api.ReasonStallExceeded, "the cuts were not done within maxStall (%s); writes were released. Raise maxStall, or see why the storage is slow", maxStall))
	defer cancel()

	err := each(streams, func(s *Stream) error { return s.hold(held) })
	times.Quiesced = time.Now()
	if err == nil {
		err = whileHeld(held, streams, cut)
	}
	times.Cut = time.Now()

	// The release has a context of its own: it must happen also when ctx is over.
	release, done := context.WithTimeout(context.WithoutCancel(ctx), releaseBound)
	defer done()
	unheld := each(streams, func(s *Stream) error { return s.release(release) })
	times.Released = time.Now()
	if err != nil {
		return times, err // what failed first explains the rest
	}
	return times, unheld
}

// whileHeld runs cut and ends it early when a node says anything: a held node
// that speaks is held no more.
func whileHeld(ctx context.Context, streams []*Stream, cut func(context.Context) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var watches sync.WaitGroup
	stop := make(chan struct{})
	for _, s := range streams {
		watches.Go(func() {
			select {
			case m, open := <-s.messages:
				cancel(s.broken(m, open))
			case <-stop:
			}
		})
	}
	err := cut(ctx)
	close(stop)
	watches.Wait()
	if cause := context.Cause(ctx); cause != nil && reason.Of(cause) != nil {
		return cause
	}
	return err
}

// each calls do for all streams at once and joins the errors.
func each(streams []*Stream, do func(*Stream) error) error {
	errs := make([]error, len(streams))
	var all sync.WaitGroup
	for i, s := range streams {
		all.Go(func() { errs[i] = do(s) })
	}
	all.Wait()
	return errors.Join(errs...)
}

// Stream is an open conversation with what holds one node.
type Stream struct {
	node     string
	send     func(command string) error
	messages <-chan protocol.Message
	close    func()
	// ended gives the reason the transport ended with, for messages.
	ended func() error
	over  bool // released or broken: nothing more will come
}

// Close ends the stream, and with it whatever it still holds.
func (s *Stream) Close() { s.close() }

// next waits for one message of the wanted state.
func (s *Stream) next(ctx context.Context, want protocol.State) (protocol.Message, error) {
	select {
	case m, open := <-s.messages:
		if open && m.State == want {
			return m, nil
		}
		return m, s.broken(m, open)
	case <-ctx.Done():
		if cause := context.Cause(ctx); reason.Of(cause) != nil {
			return protocol.Message{}, fmt.Errorf("%s: %w", s.node, cause)
		}
		return protocol.Message{}, reason.Failed(api.ReasonQuiesceUnavailable, "%s: no answer %q in time", s.node, want)
	}
}

// broken is the error for a message that was not the wanted one.
func (s *Stream) broken(m protocol.Message, open bool) error {
	s.over = true
	if !open {
		why := s.ended()
		if why == nil {
			why = errors.New("the stream ended")
		}
		return reason.Failed(api.ReasonQuiesceLost, "%s: %w", s.node, why)
	}
	word := m.Reason
	if word == "" {
		word = api.ReasonQuiesceLost
	}
	if word == api.ReasonSharedFileSystem {
		return reason.Refuse(word, "%s: %s", s.node, m.Text)
	}
	return reason.Failed(word, "%s: %s %s", s.node, m.State, m.Text)
}

func (s *Stream) hold(ctx context.Context) error {
	if err := s.send(protocol.Hold); err != nil {
		return reason.Failed(api.ReasonQuiesceLost, "%s: send hold: %w", s.node, err)
	}
	_, err := s.next(ctx, protocol.Held)
	return err
}

// release asks for it and demands the proof that the hold was unbroken.
func (s *Stream) release(ctx context.Context) error {
	defer s.close()
	if s.over {
		return nil // already reported by whoever saw it break
	}
	if err := s.send(protocol.Release); err != nil {
		return reason.Failed(api.ReasonQuiesceLost, "%s: send release: %w", s.node, err)
	}
	for {
		m, err := s.next(ctx, protocol.Released)
		if m.State == protocol.Held {
			continue // it came after we had stopped waiting for it
		}
		if err != nil {
			return err
		}
		if !m.Held {
			return reason.Failed(api.ReasonQuiesceLost, "%s: the hold was broken before the release: %s", s.node, m.Text)
		}
		return nil
	}
}
