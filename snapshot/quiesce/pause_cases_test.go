package quiesce

import (
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/snapshot/quiesce/protocol"
)

// long is a deadline in seconds that no test reaches.
const long = "60"

func pauseRelease(t *testing.T) {
	v := startVM(t)
	for range 3 {
		p := startPause(t, long)
		p.want(protocol.Ready)
		v.grows() // ready holds nothing yet
		p.send(protocol.Hold)
		p.want(protocol.Held)
		v.still()
		p.send(protocol.Release)
		p.wantReleased(true)
		v.grows()
		p.ended()
	}
}

func pauseTwo(t *testing.T) {
	v, w := startVM(t), startVM(t)
	p := held(t, long)
	v.still()
	w.still()
	p.send(protocol.Release)
	p.wantReleased(true)
	v.grows()
	w.grows()
}

func pauseEndOfInput(t *testing.T) {
	v := startVM(t)
	p := held(t, long)
	_ = p.in.Close()
	p.wantReleased(false)
	v.grows()
	p.ended()
}

func pauseNoHold(t *testing.T) {
	v := startVM(t)
	p := startPause(t, long)
	p.want(protocol.Ready)
	_ = p.in.Close()
	p.ended()
	v.grows()
}

func pauseOtherWord(t *testing.T) {
	v := startVM(t)
	p := held(t, long)
	p.send("relase")
	p.wantReleased(false)
	v.grows()
}

// The controller's end is gone before the script says held.
func pauseOutputLost(t *testing.T) {
	v := startVM(t)
	p := startPause(t, long)
	p.want(protocol.Ready)
	_ = p.out.Close()
	p.send(protocol.Hold)
	_ = p.in.Close()
	_ = p.cmd.Wait()
	v.grows()
}

// The watcher continues the VM when the script is killed. The deadline is far
// away, so nothing else does.
func pauseMainKilled(t *testing.T) {
	v := startVM(t)
	p := held(t, long)
	speaker, _, _ := p.parts()
	kill(t, syscall.SIGKILL, p.cmd.Process.Pid, speaker)
	v.grows()
}

func pauseMainTerminated(t *testing.T) {
	v := startVM(t)
	p := held(t, long)
	speaker, watcher, sleeper := p.parts()
	kill(t, syscall.SIGTERM, p.cmd.Process.Pid, speaker, watcher, sleeper)
	v.grows()
}

// Only the sleeper is left; it continues the VM at the deadline.
func pauseOnlySleeperLeft(t *testing.T) {
	v := startVM(t)
	p := held(t, "2.5")
	speaker, watcher, _ := p.parts()
	kill(t, syscall.SIGKILL, watcher, p.cmd.Process.Pid, speaker)
	v.grows()
}

// The deadline continues the VM by itself; the release that comes later is told.
func pauseDeadline(t *testing.T) {
	v := startVM(t)
	p := held(t, "1.5")
	v.grows()
	p.send(protocol.Release)
	p.wantReleased(false)
	p.ended()
	v.grows()
}

func pauseNoVM(t *testing.T) {
	p := startPause(t, long)
	if m := p.want(protocol.Error); m.Reason != api.ReasonQuiesceUnavailable || !strings.Contains(m.Text, "beam.smp") {
		t.Errorf("said %+v", m)
	}
	p.ended()
}

// Nothing is stopped that nobody could see stopped.
func pauseNoGrep(t *testing.T) {
	v := startVM(t)
	t.Setenv("PATH", t.TempDir())
	p := startPause(t, long)
	if m := p.want(protocol.Error); m.Reason != api.ReasonQuiesceUnavailable || !strings.Contains(m.Text, "grep") {
		t.Errorf("said %+v", m)
	}
	p.ended()
	v.grows()
}

func pauseVMKilled(t *testing.T) {
	v, other := startVM(t), startVM(t)
	p := held(t, long)
	_ = v.cmd.Process.Kill()
	_ = v.cmd.Wait()
	p.send(protocol.Release)
	p.wantReleased(false)
	other.grows()
}

// A kubelet's or an operator's SIGCONT, and the VM stopped again: only threads
// that run are seen, so this continues and leaves it running.
func pauseMeddled(t *testing.T) {
	v := startVM(t)
	p := held(t, long)
	kill(t, syscall.SIGCONT, v.cmd.Process.Pid)
	v.grows()
	p.send(protocol.Release)
	p.wantReleased(false)
	v.grows()
}

// A VM whose threads never all reach state T: a zombie beside the good one.
func pauseCannotStop(t *testing.T) {
	v, dead := startVM(t), startVM(t)
	_ = dead.cmd.Process.Kill() // not waited for: it stays as a zombie named beam.smp
	p := startPause(t, long)
	p.want(protocol.Ready)
	p.send(protocol.Hold)
	if m := p.want(protocol.Error); m.Reason != api.ReasonQuiesceUnavailable {
		t.Errorf("said %+v", m)
	}
	v.grows()
	p.ended()
}

// A sleeper or watcher of an earlier pause must not end a later one.
func pauseLeftovers(t *testing.T) {
	v := startVM(t)
	first := held(t, "1.5")
	_, _, sleeper := first.parts()
	first.send(protocol.Release)
	first.wantReleased(true)
	first.ended()
	if left := children(t, 1); slices.Contains(left, sleeper) {
		t.Errorf("the sleeper %d outlived its pause", sleeper)
	}
	second := held(t, long)
	time.Sleep(1600 * time.Millisecond) // past the deadline of the first: it must not matter
	v.still()
	second.send(protocol.Release)
	second.wantReleased(true)
	v.grows()
}
