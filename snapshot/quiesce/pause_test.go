package quiesce

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/snapshot/quiesce/protocol"
)

// The pause script stops whatever is named beam.smp. So it runs only in a PID
// namespace with a /proc of its own, in which no process exists that the test
// did not start. The test binary plays the Erlang VM there, under that name.
const (
	roleEnv    = "PAUSE_TEST_ROLE"
	roleInside = "inside"
	roleVM     = "vm"
	fileEnv    = "PAUSE_TEST_FILE"
	vmThreads  = 12
	// patience bounds waiting for what must come; no test passes by it.
	patience = 30 * time.Second
)

func TestMain(m *testing.M) {
	if os.Getenv(roleEnv) == roleVM {
		beVM()
	}
	os.Exit(m.Run())
}

// beVM appends to a file from many threads, for ever.
func beVM() {
	file, err := os.OpenFile(os.Getenv(fileEnv), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		os.Exit(1)
	}
	for range vmThreads {
		go func() {
			runtime.LockOSThread()
			for {
				_, _ = file.WriteString("x")
				_ = unix.Nanosleep(&unix.Timespec{Nsec: 2e6}, nil)
			}
		}()
	}
	select {}
}

func TestPauseScript(t *testing.T) {
	if os.Getenv(roleEnv) != "" {
		t.Skip("only from outside")
	}
	if os.Geteuid() != 0 {
		t.Skip("needs root, for a PID namespace of its own: the script must see no process but the test's")
	}
	for _, shell := range [][]string{{"dash"}, {"busybox", "sh"}, {"bash"}} {
		t.Run(strings.Join(shell, " "), func(t *testing.T) {
			path, err := exec.LookPath(shell[0])
			if err != nil {
				t.Skipf("%s is not installed", shell[0])
			}
			t.Parallel()
			cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestPauseInside$", "-test.v", "-test.timeout=3m")
			cmd.Env = append(os.Environ(), roleEnv+"="+roleInside, "PAUSE_TEST_SHELL="+strings.Join(append([]string{path}, shell[1:]...), " "))
			cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWPID | syscall.CLONE_NEWNS}
			out, err := cmd.CombinedOutput()
			if errors.Is(err, syscall.EPERM) {
				t.Skip("no PID namespace may be made here: ", err)
			}
			if err != nil || !strings.Contains(string(out), "--- PASS: TestPauseInside") {
				t.Fatalf("%v\n%s", err, out)
			}
		})
	}
}

func TestPauseInside(t *testing.T) {
	if os.Getenv(roleEnv) != roleInside || os.Getpid() != 1 {
		t.Skip("runs as process 1 of the PID namespace that TestPauseScript makes")
	}
	if err := errors.Join(unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""), unix.Mount("proc", "/proc", "proc", 0, "")); err != nil {
		t.Fatal("mount a /proc of its own: ", err)
	}
	if names := processes(t); len(names) != 1 {
		t.Fatalf("this is no namespace of its own: %v", names)
	}
	t.Run("release", pauseRelease)
	t.Run("two VMs", pauseTwo)
	t.Run("end of input", pauseEndOfInput)
	t.Run("end of input before hold", pauseNoHold)
	t.Run("another word than release", pauseOtherWord)
	t.Run("output lost", pauseOutputLost)
	t.Run("main killed", pauseMainKilled)
	t.Run("main terminated", pauseMainTerminated)
	t.Run("main and watcher killed", pauseOnlySleeperLeft)
	t.Run("deadline", pauseDeadline)
	t.Run("no VM", pauseNoVM)
	t.Run("no grep", pauseNoGrep)
	t.Run("VM killed meanwhile", pauseVMKilled)
	t.Run("continued by somebody else", pauseMeddled)
	t.Run("VM that does not stop", pauseCannotStop)
	t.Run("leftovers do not end a later pause", pauseLeftovers)
}

// processes lists pid and name of all that can be seen.
func processes(t *testing.T) map[int]string {
	t.Helper()
	comms, err := filepath.Glob("/proc/[0-9]*/comm")
	if err != nil {
		t.Fatal(err)
	}
	seen := map[int]string{}
	for _, comm := range comms {
		if name, err := os.ReadFile(comm); err == nil {
			pid, _ := strconv.Atoi(strings.Split(comm, "/")[2])
			seen[pid] = strings.TrimSpace(string(name))
		}
	}
	return seen
}

// vm is a running fake Erlang VM and the file it appends to.
type vm struct {
	t    *testing.T
	cmd  *exec.Cmd
	file string
}

func startVM(t *testing.T) vm {
	t.Helper()
	dir := t.TempDir()
	binary := filepath.Join(dir, "beam.smp") // the kernel names a process by the path it was started under
	if err := os.Symlink(os.Args[0], binary); err != nil {
		t.Fatal(err)
	}
	v := vm{t: t, file: filepath.Join(dir, "shard"), cmd: exec.Command(binary)}
	v.cmd.Env = append(os.Environ(), roleEnv+"="+roleVM, fileEnv+"="+v.file)
	if err := v.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = v.cmd.Process.Kill(); _ = v.cmd.Wait() })
	if err := os.WriteFile(v.file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	v.grows()
	for deadline := time.Now().Add(patience); len(v.states()) < vmThreads; runtime.Gosched() {
		if time.Now().After(deadline) {
			t.Fatalf("the VM has threads %v", v.states())
		}
	}
	return v
}

func (v vm) size() int64 {
	v.t.Helper()
	info, err := os.Stat(v.file)
	if err != nil {
		v.t.Fatal(err)
	}
	return info.Size()
}

// grows returns when the file has been written to after the call; inotify tells.
func (v vm) grows() {
	v.t.Helper()
	fd, err := unix.InotifyInit1(unix.IN_NONBLOCK | unix.IN_CLOEXEC)
	if err != nil {
		v.t.Fatal(err)
	}
	events := os.NewFile(uintptr(fd), "inotify")
	defer func() { _ = events.Close() }()
	if _, err := unix.InotifyAddWatch(fd, v.file, unix.IN_MODIFY); err != nil {
		v.t.Fatal(err)
	}
	if err := events.SetReadDeadline(time.Now().Add(patience)); err != nil {
		v.t.Fatal(err)
	}
	if _, err := events.Read(make([]byte, 4096)); err != nil {
		v.t.Fatalf("the VM does not go on writing: %v; threads are %v", err, v.states())
	}
}

// states gives the state letter of each thread.
func (v vm) states() (states []string) {
	stats, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", v.cmd.Process.Pid))
	for _, stat := range stats {
		if text, err := os.ReadFile(stat); err == nil {
			after := string(text)[strings.LastIndex(string(text), ") ")+2:]
			states = append(states, after[:1])
		}
	}
	return states
}

// still fails unless every thread is stopped and the file stands.
func (v vm) still() {
	v.t.Helper()
	if states := v.states(); len(states) < vmThreads || slices.ContainsFunc(states, func(s string) bool { return s != "T" }) {
		v.t.Errorf("said held with threads in states %v", states)
	}
	before := v.size()
	time.Sleep(20 * time.Millisecond) // a look, not a wait: 100 writes' worth
	if after := v.size(); after != before {
		v.t.Errorf("said held, and the file grew from %d to %d bytes", before, after)
	}
}

// pause is a running script.
type pause struct {
	t    *testing.T
	cmd  *exec.Cmd
	in   io.WriteCloser
	out  io.ReadCloser
	said *bufio.Reader
}

func startPause(t *testing.T, deadline string) *pause {
	t.Helper()
	shell := strings.Fields(os.Getenv("PAUSE_TEST_SHELL"))
	args := append(shell, PauseCommand(PauseBound)[1:]...)
	args[len(args)-1] = deadline
	p := &pause{t: t, cmd: exec.Command(args[0], args[1:]...)}
	var err error
	if p.in, err = p.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	// A pipe that Wait does not close under the reader.
	out, stdout, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	p.cmd.Stdout, p.cmd.Stderr, p.out, p.said = stdout, os.Stderr, out, bufio.NewReader(out)
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	_ = stdout.Close()
	if err := out.SetReadDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.in.Close(); _ = p.cmd.Process.Kill(); _ = p.cmd.Wait(); _ = out.Close() })
	return p
}

// held starts a pause and returns when it says held.
func held(t *testing.T, deadline string) *pause {
	t.Helper()
	p := startPause(t, deadline)
	p.want(protocol.Ready)
	p.send(protocol.Hold)
	p.want(protocol.Held)
	return p
}

func (p *pause) send(command string) {
	p.t.Helper()
	if _, err := io.WriteString(p.in, command+"\n"); err != nil {
		p.t.Fatalf("send %s: %v", command, err)
	}
}

func (p *pause) want(state protocol.State) (m protocol.Message) {
	p.t.Helper()
	line, err := p.said.ReadBytes('\n')
	if err == nil {
		err = json.Unmarshal(line, &m)
	}
	if err != nil || m.State != state {
		p.t.Fatalf("the script said %q (%v), want state %q", line, err, state)
	}
	return m
}

// ended waits for the script's end and that it has nothing more to say.
func (p *pause) ended() {
	p.t.Helper()
	if rest, err := io.ReadAll(p.said); err != nil || len(rest) > 0 {
		p.t.Errorf("the script also said %q (%v)", rest, err)
	}
	_ = p.cmd.Wait()
}

func (p *pause) wantReleased(held bool) {
	p.t.Helper()
	m := p.want(protocol.Released)
	if m.Held != held || !held && m.Reason != api.ReasonQuiesceLost {
		p.t.Errorf("released: %+v, want held %v", m, held)
	}
}

// children lists the direct children of pid.
func children(t *testing.T, pid int) (found []int) {
	t.Helper()
	for candidate := range processes(t) {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", candidate))
		if err != nil {
			continue
		}
		fields := strings.Fields(string(text)[strings.LastIndex(string(text), ") ")+2:])
		if fields[1] == strconv.Itoa(pid) && fields[0] != "Z" {
			found = append(found, candidate)
		}
	}
	slices.Sort(found)
	return found
}

// parts finds the processes of a held pause: the one that speaks, the watcher,
// and the sleeper, which is the speaker's child.
func (p *pause) parts() (speaker, watcher, sleeper int) {
	p.t.Helper()
	two := children(p.t, p.cmd.Process.Pid)
	if len(two) != 2 {
		p.t.Fatalf("the script's shell has children %v of %v", two, processes(p.t))
	}
	for i, pid := range two {
		if below := children(p.t, pid); len(below) == 1 {
			return pid, two[1-i], below[0]
		}
	}
	p.t.Fatalf("no sleeper below %v", two)
	return
}

func kill(t *testing.T, signal syscall.Signal, pids ...int) {
	t.Helper()
	for _, pid := range pids {
		if pid <= 1 {
			t.Fatalf("kill %d", pid)
		}
		if err := syscall.Kill(pid, signal); err != nil {
			t.Fatalf("kill %d: %v", pid, err)
		}
	}
}
