package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"sync"
	"syscall"
	"time"
)

// controller is the product's, as a process that is started again whenever it ends, as a
// kubelet would.
type controller struct {
	argv []string
	env  []string
	log  string

	mu      sync.Mutex
	process *os.Process // nil: none runs
	pause   time.Duration
	over    bool
	ended   chan struct{}
	faults  []string // what a process must not end with
}

func (c *controller) start() {
	c.ended = make(chan struct{})
	go c.run()
}

func (c *controller) run() {
	defer close(c.ended)
	for {
		c.mu.Lock()
		if c.over {
			c.mu.Unlock()
			return
		}
		pause := c.pause
		c.pause = 200 * time.Millisecond
		c.mu.Unlock()
		time.Sleep(pause)
		c.once()
	}
}

// once runs one process to its end.
func (c *controller) once() {
	// A death signal is tied to the thread that started the process.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	log, err := os.OpenFile(c.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		c.blame(err.Error())
		return
	}
	defer func() { _ = log.Close() }()
	before, _ := log.Seek(0, 2)
	cmd := exec.Command(c.argv[0], c.argv[1:]...) //nolint:gosec // built here
	cmd.Env, cmd.Stdout, cmd.Stderr = c.env, log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	c.mu.Lock()
	if c.over {
		c.mu.Unlock()
		return
	}
	if err := cmd.Start(); err != nil {
		c.mu.Unlock()
		c.blame(err.Error())
		return
	}
	c.process = cmd.Process
	c.mu.Unlock()
	_ = cmd.Wait()
	c.mu.Lock()
	c.process = nil
	c.mu.Unlock()
	if text, err := os.ReadFile(c.log); err == nil {
		for _, word := range []string{"panic:", "fatal error:", "DATA RACE"} {
			if at := bytes.Index(text[min(int(before), len(text)):], []byte(word)); at >= 0 {
				c.blame(fmt.Sprintf("the controller ended with %.300q", text[int(before)+at:]))
			}
		}
	}
}

func (c *controller) blame(text string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.faults = append(c.faults, text)
}

// kill ends the process at once; the next one starts after the pause.
func (c *controller) kill(pause time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.pause = pause
	if c.process != nil {
		_ = c.process.Kill()
	}
}

// stop ends it for good, and tells what it must not have done.
func (c *controller) stop() []string {
	c.mu.Lock()
	c.over = true
	if c.process != nil {
		_ = c.process.Signal(syscall.SIGTERM)
	}
	c.mu.Unlock()
	select {
	case <-c.ended:
	case <-time.After(20 * time.Second):
		c.kill(0)
		<-c.ended
		c.blame("the controller did not end within 20 s of SIGTERM")
	}
	return c.faults
}
