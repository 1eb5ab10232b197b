package follow

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/medic/cht-backup/cmd/kubectl-cht/internal/show"
)

// redraw is how often a terminal shows the time that passes.
const redraw = 200 * time.Millisecond

// quiet is how long a count alone makes no new line where there is no terminal.
const quiet = 30 * time.Second

// Screen shows progress: a block that is drawn again and again on a terminal,
// lines elsewhere.
type Screen struct {
	Out io.Writer
	// Width gives the terminal's, anew for each drawing; nil where there is none.
	Width           func() int
	Paint           show.Paint
	Now             func() time.Time
	SystemNamespace string

	mu     sync.Mutex
	state  show.State
	drawn  int
	hinted bool
	// told is the state that the last line spoke of, and when.
	told   show.State
	toldAt time.Time
	// from is the count that was seen first in the present phase, and when.
	from   *show.Progress
	fromAt time.Time
}

// Show takes a new state.
func (s *Screen) Show(state show.State) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.Now()
	s.measure(&state, now)
	s.state = state
	if s.Width != nil {
		s.draw()
		return
	}
	if show.Counts(s.told, state) && now.Sub(s.toldAt) < quiet {
		return
	}
	for _, line := range show.Changes(s.told, state, now) {
		_, _ = fmt.Fprintln(s.Out, line) // a lost progress line is no failure of the backup
		s.toldAt = now
	}
	s.told = state
}

// measure adds the rate to a count that comes without one.
func (s *Screen) measure(state *show.State, now time.Time) {
	switch {
	case state.Progress == nil:
		s.from = nil
	case s.from == nil || s.state.Phase != state.Phase || state.Progress.Done < s.from.Done:
		s.from, s.fromAt = state.Progress, now
	default:
		state.Progress = state.Progress.Since(s.from.Done, now.Sub(s.fromAt))
	}
}

// Start lets time pass on the screen until the returned function is called,
// which leaves a terminal clear for what is printed next.
func (s *Screen) Start() (stop func()) {
	quit, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(redraw)
		defer tick.Stop()
		for {
			select {
			case <-quit:
				return
			case <-tick.C:
				s.tick()
			}
		}
	}()
	return func() {
		close(quit)
		<-done
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.drawn > 0 {
			_, _ = fmt.Fprintf(s.Out, "\x1b[%dA\x1b[J", s.drawn)
			s.drawn = 0
		}
	}
}

func (s *Screen) tick() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.state.Name == "" {
		return
	}
	if s.Width != nil {
		s.draw()
		return
	}
	if hint := show.Unclaimed(s.state, s.Now(), s.SystemNamespace); hint != "" && !s.hinted {
		s.hinted = true
		_, _ = fmt.Fprintln(s.Out, hint)
	}
}

// draw overwrites the block drawn before. One write, so that it does not flicker.
func (s *Screen) draw() {
	now := s.Now()
	lines := show.Block(s.state, now, s.Width(), show.Unclaimed(s.state, now, s.SystemNamespace), s.Paint)
	var b strings.Builder
	if s.drawn > 0 {
		fmt.Fprintf(&b, "\x1b[%dA", s.drawn)
	}
	b.WriteString("\r")
	for _, line := range lines {
		b.WriteString(line + "\x1b[K\n")
	}
	b.WriteString("\x1b[J")
	s.drawn = len(lines)
	_, _ = io.WriteString(s.Out, b.String())
}
