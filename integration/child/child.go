// Package child starts programs that do not outlive this one, whatever ends it.
// In: a command. Out: it runs; its end is told.
package child

import (
	"os/exec"
	"runtime"
	"syscall"
)

// Process is one that was started.
type Process struct {
	Cmd *exec.Cmd
	// Ended is closed at its end; Err says then how it ended.
	Ended chan struct{}
	Err   error
}

// Start starts a command, which gets no signal of the terminal's.
func Start(cmd *exec.Cmd) (*Process, error) {
	p := &Process{Cmd: cmd, Ended: make(chan struct{})}
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Pdeathsig, cmd.SysProcAttr.Setpgid = syscall.SIGKILL, true
	started := make(chan error)
	go func() {
		// A death signal is tied to the thread that started the process.
		runtime.LockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			p.Err = cmd.Wait()
			close(p.Ended)
		}
	}()
	return p, <-started
}
