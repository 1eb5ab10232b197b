package pause

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
	"time"
)

// armed and done are what is said over the pipes, beside the order.
const (
	armed = "armed"
	done  = "done"
)

// order is what the guard is told.
type order struct {
	PIDs  []int         `json:"pids"`
	Bound time.Duration `json:"bound"`
}

// Watchdog is a guard that is a process of its own. It sees the end of the one that
// holds by its pipe, which the kernel closes, and is in a session of its own, so that
// what is typed at a terminal does not reach it.
type Watchdog struct {
	// Command calls Watch with its input and output.
	Command func() *exec.Cmd
}

// Arm implements Guard.
func (w Watchdog) Arm(ctx context.Context, pids []int, bound time.Duration) (disarm func(), err error) {
	cmd := w.Command()
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start the watchdog: %w", err)
	}
	over := func() {
		_, _ = io.WriteString(in, done+"\n") // gone: then it has acted, and was not needed
		_ = in.Close()
		_ = cmd.Wait()
	}
	said := make(chan error, 1)
	go func() {
		err := json.NewEncoder(in).Encode(order{pids, bound})
		if err == nil {
			var line string
			if line, err = bufio.NewReader(out).ReadString('\n'); err == nil && strings.TrimSpace(line) != armed {
				err = fmt.Errorf("it said %q", line)
			}
		}
		said <- err
	}()
	select {
	case err = <-said:
	case <-ctx.Done():
		err = ctx.Err()
	case <-time.After(5 * time.Second):
		err = errors.New("it says nothing")
	}
	if err != nil {
		_ = cmd.Process.Kill() // nothing is stopped yet
		over()
		return nil, fmt.Errorf("the watchdog: %w", err)
	}
	return over, nil
}

// Watch is the watchdog's whole life: it takes its order, and continues the processes
// at the end of its input or when their time is over. It dies only of that, or of
// SIGKILL.
func Watch(in io.Reader, out io.Writer) error {
	signal.Ignore(syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP, syscall.SIGQUIT)
	// When memory lacks, it is the last to go: it is small, and what it watches is not.
	_ = os.WriteFile("/proc/self/oom_score_adj", []byte("-1000"), 0) // not everybody may
	lines := bufio.NewReader(in)
	first, err := lines.ReadBytes('\n')
	if err != nil {
		return fmt.Errorf("read the order: %w", err)
	}
	var o order
	if err := json.Unmarshal(first, &o); err != nil {
		return fmt.Errorf("read the order: %w", err)
	}
	over := time.NewTimer(o.Bound)
	if _, err := fmt.Fprintln(out, armed); err != nil {
		return err
	}
	ended := make(chan bool, 1)
	go func() {
		line, _ := lines.ReadString('\n') // the end of the input is no word
		ended <- strings.TrimSpace(line) == done
	}()
	select {
	case good := <-ended:
		if good {
			return nil
		}
		err = Continue(o.PIDs)
		return errors.Join(errors.New("the program that held CouchDB is gone; CouchDB goes on"), err)
	case <-over.C:
		err = Continue(o.PIDs)
		return errors.Join(fmt.Errorf("CouchDB was held for %s; it goes on", o.Bound), err)
	}
}
