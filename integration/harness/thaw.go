package harness

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Thaw is an armed thaw from outside the system under test.
type Thaw struct{ pid int }

// ThawGuard arms a thaw of every volume of the testbed after d, which comes whatever
// becomes of this process, and disarms it at the test's end. A test in which it had
// to fire has failed. On another cluster it can do nothing, and says so.
func (c *Cluster) ThawGuard(t testing.TB, d time.Duration) {
	t.Helper()
	if !c.Local {
		t.Log("no thaw from outside on this cluster")
		return
	}
	thaw, err := c.ArmThaw(t, d)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if fired := thaw.Disarm(); fired {
			t.Errorf("the thaw from outside fired after %s", d)
		}
	})
}

// ArmThaw arms a thaw after d; Disarm it.
func (c *Cluster) ArmThaw(t testing.TB, d time.Duration) (*Thaw, error) {
	out, err := c.Testbed(t.Context(), "arm-thaw", d.String())
	if err != nil {
		return nil, fmt.Errorf("arm a thaw: %w", err)
	}
	pid, err := strconv.Atoi(out)
	if err != nil || !alive(pid) {
		return nil, fmt.Errorf("arm a thaw: no process %q", out)
	}
	return &Thaw{pid: pid}, nil
}

// Disarm ends it and tells whether it had already fired.
func (t *Thaw) Disarm() (fired bool) {
	if !alive(t.pid) {
		return true
	}
	return errors.Is(unix.Kill(t.pid, unix.SIGKILL), unix.ESRCH)
}

// alive tells whether a process runs; one that has ended and that nobody has
// asked for its status does not.
func alive(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	text := string(stat)
	return !strings.HasPrefix(text[strings.LastIndexByte(text, ')')+1:], " Z")
}
