package freezer

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/medic/cht-backup/snapshot/quiesce/protocol"
)

// fakeDevice behaves like the kernel: a thaw of what is not frozen is an error.
type fakeDevice struct {
	mu     sync.Mutex
	calls  []string
	frozen bool

	syncErr, freezeErr, thawErr error
	// freezeGate, when set, holds Freeze until it is closed; inFreeze tells that it waits.
	freezeGate, inFreeze chan struct{}
	// thaws gets one value for each thaw call, when set.
	thaws chan error
}

func (d *fakeDevice) note(call string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.calls = append(d.calls, call)
}

func (d *fakeDevice) Sync() error { d.note("sync"); return d.syncErr }

func (d *fakeDevice) Freeze() error {
	d.note("freeze")
	if d.freezeGate != nil {
		close(d.inFreeze)
		<-d.freezeGate
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.frozen = d.freezeErr == nil
	return d.freezeErr
}

func (d *fakeDevice) Thaw() (err error) {
	d.note("thaw")
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case d.thawErr != nil:
		err = d.thawErr
	case !d.frozen:
		err = ErrNotFrozen
	}
	d.frozen = d.frozen && err != nil
	if d.thaws != nil {
		d.thaws <- err
	}
	return err
}

func (d *fakeDevice) isFrozen() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.frozen
}

func (d *fakeDevice) setFrozen(v bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.frozen = v
}

func (d *fakeDevice) called(call string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Contains(d.calls, call)
}

// holding is one hold under test, with the controller's and the watchdog's ends.
type holding struct {
	t      *testing.T
	device *fakeDevice
	in     *io.PipeWriter
	said   chan protocol.Message
	dog    net.Conn
	asked  chan string
	err    chan error
	stop   context.CancelFunc
}

// failingWriter fails from write number from on (counted from 1).
type failingWriter struct {
	io.Writer
	from, n int
}

func (w *failingWriter) Write(p []byte) (int, error) {
	if w.n++; w.from > 0 && w.n >= w.from {
		return 0, io.ErrClosedPipe
	}
	return w.Writer.Write(p)
}

// startHold runs hold. answer is what the watchdog says to the arm, "" for
// silence, "close" for hanging up.
func startHold(t *testing.T, device *fakeDevice, maxStall time.Duration, answer string, failWriteFrom int) *holding {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	stdin, in := io.Pipe()
	out, stdout := io.Pipe()
	mine, theirs := net.Pipe()
	h := &holding{t: t, device: device, in: in, said: make(chan protocol.Message, 8), dog: mine, asked: make(chan string, 8), err: make(chan error, 1), stop: stop}
	go func() {
		defer close(h.said)
		for d := json.NewDecoder(out); ; {
			var m protocol.Message
			if d.Decode(&m) != nil {
				return
			}
			h.said <- m
		}
	}()
	go func() {
		defer close(h.asked)
		for s := bufio.NewScanner(mine); s.Scan(); {
			h.asked <- s.Text()
			if len(s.Text()) < 4 || s.Text()[:4] != "arm " {
				continue
			}
			switch answer {
			case "":
			case "close":
				_ = mine.Close()
			default:
				_, _ = io.WriteString(mine, answer+"\n")
			}
		}
	}()
	go func() {
		h.err <- hold(ctx, stdin, &failingWriter{Writer: stdout, from: failWriteFrom}, device, theirs, maxStall)
		_ = theirs.Close()
		_ = stdout.Close()
		_ = stdin.Close()
	}()
	t.Cleanup(func() { stop(); _ = in.Close(); _ = mine.Close() })
	return h
}

func (h *holding) send(command string) {
	h.t.Helper()
	if _, err := io.WriteString(h.in, command+"\n"); err != nil {
		h.t.Fatalf("send %s: %v", command, err)
	}
}

func (h *holding) want(state protocol.State) protocol.Message {
	h.t.Helper()
	m, open := <-h.said
	if !open || m.State != state {
		h.t.Fatalf("the node said %+v (open %v), want state %q", m, open, state)
	}
	return m
}
