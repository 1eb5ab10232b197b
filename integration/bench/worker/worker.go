// Package worker does pieces of a benchmark in processes of their own, whose memory and
// time are theirs alone.
// In: an order, as JSON. Out: an answer, the same way.
package worker

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
)

// Serve does a piece of work and ends, in a process that was started for one: where the
// environment has that role. Else it does nothing.
func Serve(role, name string, work func(ctx context.Context, in io.Reader, out, say io.Writer) error) {
	if os.Getenv(role) == "" {
		return
	}
	if err := work(context.Background(), os.Stdin, os.Stdout, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, name+":", err)
		os.Exit(1)
	}
	os.Exit(0)
}

// Run does the work of an order in a process of its own, this program in that role, and
// reads its answer.
func Run(ctx context.Context, role string, order, answer any, say io.Writer) error {
	in, err := json.Marshal(order)
	if err != nil {
		return err
	}
	exe, err := os.Executable()
	if err != nil {
		return err
	}
	var out bytes.Buffer
	cmd := exec.CommandContext(ctx, exe)
	cmd.Env = append(os.Environ(), role+"=1")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(in), &out, say
	if err := cmd.Run(); err != nil {
		return err
	}
	return json.Unmarshal(out.Bytes(), answer)
}

// OwnPeak is Peak of this process. It is asked for from within: what wait4 and getrusage
// tell of a child counts its parent's pages too.
func OwnPeak() (int64, error) {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0, err
	}
	return Peak(string(status))
}

// Peak reads from a process's status in /proc the most memory that was ever resident, in
// KiB.
func Peak(status string) (int64, error) {
	for line := range strings.Lines(status) {
		if value, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			return strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(value), "kB")), 10, 64)
		}
	}
	return 0, errors.New("no VmHWM in the process's status")
}
