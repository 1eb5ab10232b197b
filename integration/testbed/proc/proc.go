package proc

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Table keeps the records of processes in one directory and their output in another.
type Table struct{ Dir, Logs string }

// Record is what identifies a started process.
type Record struct {
	PID       int      `json:"pid"`
	StartTime uint64   `json:"startTime"` // field 22 of /proc/PID/stat, in ticks since boot
	Argv      []string `json:"argv"`
}

// Spec is how to start a process.
type Spec struct {
	Name string
	Argv []string
	Env  []string
}

func (t *Table) file(name string) string { return filepath.Join(t.Dir, name+".json") }

// LogFile is where the output of a process goes.
func (t *Table) LogFile(name string) string { return filepath.Join(t.Logs, name+".log") }

// Start starts a process of its own session with its output in the log file,
// unless the recorded one still runs.
func (t *Table) Start(s Spec) error {
	if _, alive := t.Alive(s.Name); alive {
		return nil
	}
	if err := errors.Join(os.MkdirAll(t.Dir, 0o700), os.MkdirAll(t.Logs, 0o755)); err != nil {
		return err
	}
	log, err := os.OpenFile(t.LogFile(s.Name), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return fmt.Errorf("open log of %s: %w", s.Name, err)
	}
	defer func() { _ = log.Close() }()
	cmd := exec.Command(s.Argv[0], s.Argv[1:]...)
	cmd.Stdout, cmd.Stderr, cmd.Dir = log, log, "/"
	cmd.Env = append([]string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root"}, s.Env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start %s: %w", s.Name, err)
	}
	// Reaped here while this program lives, by init afterwards.
	go func() { _ = cmd.Wait() }()
	st, err := readStat(cmd.Process.Pid)
	if err != nil {
		return fmt.Errorf("start %s: it ended at once, see %s", s.Name, t.LogFile(s.Name))
	}
	data, err := json.Marshal(Record{PID: cmd.Process.Pid, StartTime: st.start, Argv: s.Argv})
	if err != nil {
		return err
	}
	return os.WriteFile(t.file(s.Name), data, 0o600)
}

// Get returns the record of a process, whether it runs or not.
func (t *Table) Get(name string) (Record, bool) {
	data, err := os.ReadFile(t.file(name))
	if err != nil {
		return Record{}, false
	}
	var r Record
	return r, json.Unmarshal(data, &r) == nil && r.PID > 1
}

// Alive returns the record of a process if that very process still runs.
func (t *Table) Alive(name string) (Record, bool) {
	r, ok := t.Get(name)
	if !ok {
		return r, false
	}
	st, err := readStat(r.PID)
	return r, err == nil && st.start == r.StartTime && !st.dead
}

// Names returns the recorded processes.
func (t *Table) Names() ([]string, error) {
	files, err := filepath.Glob(t.file("*"))
	for i, f := range files {
		files[i] = strings.TrimSuffix(filepath.Base(f), ".json")
	}
	return files, err
}

// Signal sends a signal to a recorded process; it says whether it was there.
func (t *Table) Signal(name string, sig unix.Signal) (bool, error) {
	pidfd, ok := t.open(name)
	if !ok {
		return false, nil
	}
	defer func() { _ = unix.Close(pidfd) }()
	if err := unix.PidfdSendSignal(pidfd, sig, nil, 0); err != nil && !errors.Is(err, unix.ESRCH) {
		return false, fmt.Errorf("send %s to %s: %w", unix.SignalName(sig), name, err)
	}
	return true, nil
}

// Wait waits until a recorded process has ended; false after the timeout.
func (t *Table) Wait(name string, timeout time.Duration) bool {
	pidfd, ok := t.open(name)
	if !ok {
		return true
	}
	defer func() { _ = unix.Close(pidfd) }()
	return ended(pidfd, timeout)
}

// Stop ends a recorded process: SIGTERM, and SIGKILL after grace. It forgets the
// record once the process is gone.
func (t *Table) Stop(name string, grace time.Duration) error {
	pidfd, ok := t.open(name)
	if ok {
		defer func() { _ = unix.Close(pidfd) }()
		// One that was stopped (SIGSTOP) takes its SIGTERM only when it goes on.
		_ = unix.PidfdSendSignal(pidfd, unix.SIGTERM, nil, 0)
		_ = unix.PidfdSendSignal(pidfd, unix.SIGCONT, nil, 0)
		if !ended(pidfd, grace) {
			_ = unix.PidfdSendSignal(pidfd, unix.SIGKILL, nil, 0)
			if !ended(pidfd, 10*time.Second) {
				return fmt.Errorf("stop %s: still there 10 s after SIGKILL", name)
			}
		}
	}
	if err := os.Remove(t.file(name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// open returns a pidfd of a recorded process. The start time is compared after
// the pidfd is open, so the two name the same process.
func (t *Table) open(name string) (int, bool) {
	r, ok := t.Get(name)
	if !ok {
		return -1, false
	}
	pidfd, err := unix.PidfdOpen(r.PID, 0)
	if err != nil {
		return -1, false
	}
	if _, alive := t.Alive(name); !alive {
		_ = unix.Close(pidfd)
		return -1, false
	}
	return pidfd, true
}

func ended(pidfd int, timeout time.Duration) bool {
	deadline := time.Now().Add(timeout)
	for {
		left := max(time.Until(deadline), 0)
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(pidfd), Events: unix.POLLIN}}, int(left.Milliseconds()))
		if errors.Is(err, unix.EINTR) {
			continue
		}
		return err == nil && n == 1
	}
}

type stat struct {
	start uint64
	dead  bool // a zombie, or on its way out
}

func readStat(pid int) (stat, error) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return stat{}, err
	}
	return parseStat(string(data))
}

func parseStat(line string) (stat, error) {
	// The name in brackets may hold blanks and brackets: count from the last one.
	fields := strings.Fields(line[strings.LastIndexByte(line, ')')+1:])
	if len(fields) < 20 {
		return stat{}, fmt.Errorf("stat line of %d fields", len(fields))
	}
	start, err := strconv.ParseUint(fields[19], 10, 64)
	return stat{start: start, dead: fields[0] == "Z" || fields[0] == "X"}, err
}
