package freezer

import (
	"errors"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/snapshot/quiesce/protocol"
)

const stall = 10 * time.Second

// Every way a hold can end: always thawed, and "held" only for a release whose
// thaw found the freeze still there.
func TestHoldEnds(t *testing.T) {
	tests := []struct {
		name   string
		device fakeDevice
		// end makes the hold end, once it is held.
		end    func(h *holding)
		held   bool
		reason string
		text   string
	}{
		{name: "release", end: func(h *holding) { h.send(protocol.Release) }, held: true},
		{name: "end of input", end: func(h *holding) { _ = h.in.Close() }, reason: api.ReasonQuiesceLost, text: "stream ended"},
		{name: "a word nobody knows", end: func(h *holding) { h.send("relase") }, reason: api.ReasonQuiesceLost},
		{name: "hold asked for twice", end: func(h *holding) { h.send(protocol.Hold) }, reason: api.ReasonQuiesceLost},
		{name: "deadline", end: func(*holding) {}, reason: api.ReasonStallExceeded, text: "10s"},
		{name: "SIGTERM", end: func(h *holding) { h.stop() }, reason: api.ReasonQuiesceLost, text: "told to stop"},
		{name: "watchdog lost", end: func(h *holding) { _ = h.dog.Close() }, reason: api.ReasonQuiesceLost, text: "watchdog"},
		{name: "watchdog speaks", end: func(h *holding) { _, _ = h.dog.Write([]byte("thawed\n")) }, reason: api.ReasonQuiesceLost, text: "watchdog"},
		{name: "release of what somebody thawed", end: func(h *holding) { h.device.setFrozen(false); h.send(protocol.Release) },
			reason: api.ReasonQuiesceLost, text: ErrNotFrozen.Error()},
		{name: "release, but the thaw fails", device: fakeDevice{thawErr: syscall.EIO}, end: func(h *holding) { h.send(protocol.Release) },
			reason: api.ReasonQuiesceLost, text: syscall.EIO.Error()},
	}
	for i := range tests {
		tt := &tests[i]
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				began := time.Now()
				h := startHold(t, &tt.device, stall, "armed", 0)
				h.want(protocol.Ready)
				if tt.device.called("freeze") {
					t.Fatal("frozen before anybody asked")
				}
				h.send(protocol.Hold)
				h.want(protocol.Held)
				if !tt.device.isFrozen() {
					t.Fatal("said held without a freeze")
				}
				tt.end(h)
				m := h.want(protocol.Released)
				if m.Held != tt.held || m.Reason != tt.reason || !strings.Contains(m.Text, tt.text) {
					t.Errorf("released with %+v, want held %v, reason %q, text with %q", m, tt.held, tt.reason, tt.text)
				}
				if err := <-h.err; err != nil {
					t.Errorf("hold returned %v", err)
				}
				if tt.device.thawErr == nil && tt.device.isFrozen() {
					t.Error("left frozen")
				}
				// The clock is the bubble's: this is when it was ended, not how fast.
				if took := time.Since(began); tt.name == "deadline" && took != stall {
					t.Errorf("the deadline came after %s, want %s", took, stall)
				}
				if arm := <-h.asked; arm != "arm 10250" {
					t.Errorf("the watchdog was asked %q; its deadline must lie after ours", arm)
				}
				if word, open := <-h.asked; open && word != "disarm" {
					t.Errorf("the watchdog was told %q, want disarm", word)
				}
			})
		})
	}
}

// Nothing may be frozen when any of the conditions is missing.
func TestHoldRefusesBeforeFreezing(t *testing.T) {
	tests := []struct {
		name   string
		device fakeDevice
		answer string
		noHold func(h *holding) // instead of asking for the hold
		reason string
	}{
		{name: "watchdog refuses to arm", answer: "busy", reason: api.ReasonQuiesceUnavailable},
		{name: "watchdog is silent", answer: "", reason: api.ReasonQuiesceUnavailable},
		{name: "watchdog hangs up", answer: "close", reason: api.ReasonQuiesceUnavailable},
		{name: "input ends first", answer: "armed", noHold: func(h *holding) { _ = h.in.Close() }},
		{name: "another word first", answer: "armed", noHold: func(h *holding) { h.send(protocol.Release) }},
		{name: "SIGTERM first", answer: "armed", noHold: func(h *holding) { h.stop() }},
		{name: "flush fails", answer: "armed", device: fakeDevice{syncErr: syscall.EIO}, reason: api.ReasonQuiesceUnavailable},
	}
	for i := range tests {
		tt := &tests[i]
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := startHold(t, &tt.device, stall, tt.answer, 0)
				if tt.device.syncErr == nil {
					h.want(protocol.Ready)
					if tt.noHold != nil {
						tt.noHold(h)
					} else {
						h.send(protocol.Hold)
					}
				}
				if tt.reason != "" {
					if m := h.want(protocol.Error); m.Reason != tt.reason || m.Text == "" {
						t.Errorf("refused with %+v, want reason %s and a text", m, tt.reason)
					}
					if err := <-h.err; err == nil {
						t.Error("hold returned no error")
					}
				} else {
					t.Log("ended with: ", <-h.err)
					if m, open := <-h.said; open {
						t.Errorf("said %+v", m)
					}
				}
				if tt.device.called("freeze") {
					t.Error("froze")
				}
				if tt.device.called("thaw") {
					t.Error("thawed what it had not frozen: that could be another's freeze")
				}
			})
		})
	}
}

func TestHoldFreezeFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		device := &fakeDevice{freezeErr: syscall.EBUSY}
		h := startHold(t, device, stall, "armed", 0)
		h.want(protocol.Ready)
		h.send(protocol.Hold)
		if m := h.want(protocol.Error); m.Reason != api.ReasonQuiesceUnavailable || !strings.Contains(m.Text, syscall.EBUSY.Error()) {
			t.Errorf("said %+v", m)
		}
		if err := <-h.err; !errors.Is(err, syscall.EBUSY) {
			t.Errorf("returned %v", err)
		}
		if <-h.asked; <-h.asked != "disarm" {
			t.Error("the watchdog was left armed and would thaw a later freeze")
		}
		if device.called("thaw") {
			t.Error("thawed a freeze that is another's (EBUSY)")
		}
	})
}

// The controller is gone at the moment the hold wants to say "held".
func TestHoldThawsWhenItCannotSayHeld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		device := &fakeDevice{}
		h := startHold(t, device, time.Hour, "armed", 2)
		h.want(protocol.Ready)
		began := time.Now()
		h.send(protocol.Hold)
		if err := <-h.err; err == nil {
			t.Error("no error although nothing could be said")
		}
		if !device.called("freeze") || device.isFrozen() {
			t.Errorf("calls %v, frozen %v; want a freeze and its thaw", device.calls, device.isFrozen())
		}
		if took := time.Since(began); took != 0 {
			t.Errorf("thawed %s later, want at once", took)
		}
	})
}

// FIFREEZE blocks while the file system drains. What ends the hold meanwhile
// must thaw as soon as the call is back.
func TestHoldEndsWhileFreezeBlocks(t *testing.T) {
	for name, end := range map[string]func(h *holding){
		"end of input":  func(h *holding) { _ = h.in.Close() },
		"SIGTERM":       func(h *holding) { h.stop() },
		"watchdog lost": func(h *holding) { _ = h.dog.Close() },
		"deadline":      func(*holding) { time.Sleep(2 * stall) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				device := &fakeDevice{freezeGate: make(chan struct{}), inFreeze: make(chan struct{})}
				h := startHold(t, device, stall, "armed", 0)
				h.want(protocol.Ready)
				h.send(protocol.Hold)
				<-device.inFreeze
				end(h)
				synctest.Wait()
				back := time.Now()
				close(device.freezeGate)
				h.want(protocol.Held)
				if m := h.want(protocol.Released); m.Held {
					t.Error("says held, though the hold was over before it began")
				}
				t.Log("ended with: ", <-h.err)
				if device.isFrozen() {
					t.Error("left frozen")
				}
				if took := time.Since(back); took != 0 {
					t.Errorf("thawed %s after the freeze call came back, want at once", took)
				}
			})
		})
	}
}
