package pause

import (
	"context"
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"
)

const (
	// Bound of a pause, whoever wants a longer one: at 5 s things inside CouchDB run into
	// their own timeouts.
	Bound = 2 * time.Second
	// look is the pause between two looks at the threads. All stop within 5 to 32 ms.
	look = 200 * time.Microsecond
)

// ErrLost is the answer where the processes were not stopped all the time: what was seen
// of their files is no cut.
var ErrLost = errors.New("CouchDB was not stopped any more")

// Stall tells when the processes were held.
type Stall struct {
	// Begin is before the first signal, Held when the last thread was seen stopped, End
	// after the last was continued.
	Begin, Held, End time.Time
}

// Length of the stall as a writer sees it.
func (s Stall) Length() time.Duration { return s.End.Sub(s.Begin) }

// Guard continues the processes when the one that holds them does not.
type Guard interface {
	// Arm returns once the guard is in force. It acts bound later, or when this program is
	// no more, and not after disarm.
	Arm(ctx context.Context, pids []int, bound time.Duration) (disarm func(), err error)
}

// Hold stops the processes, calls do once every thread of all of them is stopped, and
// continues them. do's context ends in time before bound is over. The error is do's, or
// ErrLost.
//
// The barrier is what makes it one cut: no process is looked at before all are stopped,
// none is continued before all was looked at. That the signals were sent says nothing: a
// write that is in the kernel by then still finishes.
func Hold(ctx context.Context, g Guard, pids []int, bound time.Duration, do func(context.Context) error) (Stall, error) {
	var s Stall
	if len(pids) == 0 {
		return s, ErrNone
	}
	bound = min(bound, Bound)
	processes := make([]*os.Process, len(pids))
	for i, pid := range pids {
		var err error
		if processes[i], err = find(pid); err != nil {
			return s, err
		}
		defer processes[i].Release() //nolint:errcheck // nothing of it is left to do
		if held := Stopped([]int{pid}); len(held) > 0 {
			return s, fmt.Errorf("process %d is stopped already, by somebody else; continue it with: kill -CONT %d", pid, pid)
		}
	}
	disarm, err := g.Arm(ctx, pids, bound)
	if err != nil {
		return s, fmt.Errorf("nothing was stopped, since nobody would continue it if this program died: %w", err)
	}
	defer disarm()
	s.Begin = time.Now()
	within, cancel := context.WithDeadline(ctx, s.Begin.Add(bound*9/10))
	defer cancel()
	err = func() error {
		// Whatever happens from the first signal on, a panic included.
		defer func() {
			for _, p := range processes {
				_ = p.Signal(syscall.SIGCONT) // one that has ended needs none
			}
			s.End = time.Now()
		}()
		for _, p := range processes {
			if err := p.Signal(syscall.SIGSTOP); err != nil {
				return fmt.Errorf("stop process %d: %w", p.Pid, err)
			}
		}
		if err := allStopped(within, pids); err != nil {
			return err
		}
		s.Held = time.Now()
		if err := do(within); err != nil {
			return err
		}
		for _, pid := range pids { // continued by somebody, or by the guard
			if still, err := stopped(pid); err != nil || !still {
				return errors.Join(fmt.Errorf("process %d: %w", pid, ErrLost), err)
			}
		}
		return nil
	}()
	return s, err
}

// find gives a handle of a process, which stays that process's though its number be given
// to another.
func find(pid int) (*os.Process, error) {
	p, err := os.FindProcess(pid)
	if err != nil {
		return nil, fmt.Errorf("process %d: %w", pid, err)
	}
	name, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid)) //nolint:gosec // of /proc
	if err != nil || string(name) != vm+"\n" {
		_ = p.Release()
		return nil, fmt.Errorf("process %d is no %s any more; CouchDB was started again meanwhile", pid, vm)
	}
	return p, nil
}

func allStopped(ctx context.Context, pids []int) error {
	for {
		moving := 0
		for _, pid := range pids {
			still, err := stopped(pid)
			if err != nil {
				return err
			}
			if !still {
				moving = pid
			}
		}
		if moving == 0 {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("process %d did not stop in time (process 1 of a container of its own cannot be stopped): %w", moving, ctx.Err())
		case <-time.After(look):
		}
	}
}

// Continue continues processes, for when all else failed.
func Continue(pids []int) (err error) {
	for _, pid := range pids {
		if failed := syscall.Kill(pid, syscall.SIGCONT); failed != nil && !errors.Is(failed, syscall.ESRCH) {
			err = errors.Join(err, fmt.Errorf("continue process %d: %w", pid, failed))
		}
	}
	return err
}
