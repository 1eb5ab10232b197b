package pause

import (
	"bufio"
	"context"
	"errors"
	"fmt"
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
)

// The test binary plays all parts: an Erlang VM, the watchdog, and a program that holds.
const (
	roleEnv = "PAUSE_TEST_ROLE"
	dirEnv  = "PAUSE_TEST_DIR"
	// patience bounds waiting for what must come; no test passes by it.
	patience = 30 * time.Second
	threads  = 12
)

func TestMain(m *testing.M) {
	switch os.Getenv(roleEnv) {
	case "vm":
		beVM()
	case "init": // process 1 of a container
		cmd := exec.Command("/proc/self/exe")
		cmd.Env = append(os.Environ(), roleEnv+"=vm")
		if cmd.Start() == nil {
			_ = cmd.Wait()
		}
		os.Exit(1)
	case "watch":
		if err := Watch(os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	case "holder":
		beHolder()
	}
	os.Exit(m.Run())
}

// beVM appends to a file from many threads, for ever.
func beVM() {
	_ = os.WriteFile("/proc/self/comm", []byte(vm), 0)
	file, err := os.OpenFile(filepath.Join(os.Getenv(dirEnv), "data"), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		os.Exit(1)
	}
	for range threads {
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

// beHolder holds the processes of its arguments until it is killed, or until it was
// told.
func beHolder() {
	var pids []int
	for _, arg := range os.Args[1:] {
		pid, _ := strconv.Atoi(arg)
		pids = append(pids, pid)
	}
	_, err := Hold(context.Background(), watchdog(), pids, Bound, func(context.Context) error {
		fmt.Println("held")
		_, _ = bufio.NewReader(os.Stdin).ReadString('\n')
		return nil
	})
	fmt.Println("over:", err)
	os.Exit(0)
}

func watchdog() Watchdog {
	return Watchdog{Command: func() *exec.Cmd {
		cmd := exec.Command("/proc/self/exe")
		cmd.Env, cmd.Stderr = append(os.Environ(), roleEnv+"=watch"), os.Stderr
		return cmd
	}}
}

// container starts what plays a container with an Erlang VM, and gives the process id of
// its first process, as the host sees it, and the file that the VM writes.
func container(t *testing.T, attr *syscall.SysProcAttr) (pid int, file string) {
	t.Helper()
	dir := t.TempDir()
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), roleEnv+"=init", dirEnv+"="+dir)
	if attr == nil {
		attr = &syscall.SysProcAttr{}
	}
	attr.Setpgid = true
	cmd.SysProcAttr = attr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		_ = cmd.Wait()
	})
	return cmd.Process.Pid, filepath.Join(dir, "data")
}

func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	for until := time.Now().Add(patience); !is(); time.Sleep(time.Millisecond) {
		if time.Now().After(until) {
			t.Fatalf("not within %s: %s", patience, what)
		}
	}
}

func size(file string) int64 {
	info, err := os.Stat(file)
	if err != nil {
		return 0
	}
	return info.Size()
}

func grows(t *testing.T, file string) {
	t.Helper()
	at := size(file)
	eventually(t, file+" grows", func() bool { return size(file) > at+threads })
}

// vmsOf waits until the VM of a container is there.
func vmsOf(t *testing.T, pid int) (vms []int) {
	t.Helper()
	eventually(t, "a VM in the container", func() bool {
		var err error
		vms, err = VMs(pid)
		return err == nil
	})
	return vms
}

// two gives two containers with a VM each.
func two(t *testing.T) (pids []int, files []string) {
	t.Helper()
	for range 2 {
		pid, file := container(t, nil)
		pids, files = append(pids, vmsOf(t, pid)...), append(files, file)
		grows(t, file)
	}
	return pids, files
}

func TestHold(t *testing.T) {
	pids, files := two(t)
	stall, err := Hold(t.Context(), watchdog(), pids, Bound, func(context.Context) error {
		var was []int64
		for i, pid := range pids {
			if still, err := stopped(pid); !still || err != nil {
				t.Errorf("process %d is not stopped: %v", pid, err)
			}
			was = append(was, size(files[i]))
		}
		time.Sleep(30 * time.Millisecond) // that of 12 threads none writes
		for i, file := range files {
			if size(file) != was[i] {
				t.Errorf("%s grew while its process was stopped", file)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if stall.Held.Before(stall.Begin) || stall.End.Before(stall.Held) {
		t.Errorf("stall %+v", stall)
	}
	for _, file := range files {
		grows(t, file)
	}
}

// Whatever do returns, and be it a panic, CouchDB goes on.
func TestHoldEnds(t *testing.T) {
	pids, files := two(t)
	wrong := errors.New("the disk is full")
	if _, err := Hold(t.Context(), watchdog(), pids, Bound, func(context.Context) error { return wrong }); !errors.Is(err, wrong) {
		t.Error(err)
	}
	func() {
		defer func() { _ = recover() }()
		_, _ = Hold(t.Context(), watchdog(), pids, Bound, func(context.Context) error { panic("no") })
	}()
	for _, file := range files {
		grows(t, file)
	}
}

// Whoever continues one of them meanwhile spoils the cut.
func TestHoldLost(t *testing.T) {
	pids, _ := two(t)
	_, err := Hold(t.Context(), watchdog(), pids, Bound, func(context.Context) error { return syscall.Kill(pids[1], syscall.SIGCONT) })
	if !errors.Is(err, ErrLost) {
		t.Errorf("got %v", err)
	}
}

// A call that does not end is not waited for: its context ends before the bound, and
// one that does not look at it is overtaken by the watchdog.
func TestHoldBound(t *testing.T) {
	pids, files := two(t)
	_, err := Hold(t.Context(), watchdog(), pids, 300*time.Millisecond, func(ctx context.Context) error {
		<-ctx.Done()
		return ctx.Err()
	})
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
	_, err = Hold(t.Context(), watchdog(), pids, 300*time.Millisecond, func(context.Context) error {
		for _, file := range files {
			grows(t, file)
		}
		return nil
	})
	if !errors.Is(err, ErrLost) {
		t.Errorf("got %v", err)
	}
}

// holder starts a program that holds, and waits until it does.
func holder(t *testing.T, pids []int) (_ *exec.Cmd, said *bufio.Reader, release func() error) {
	t.Helper()
	args := make([]string, len(pids))
	for i, pid := range pids {
		args[i] = strconv.Itoa(pid)
	}
	cmd := exec.Command("/proc/self/exe", args...)
	cmd.Env = append(os.Environ(), roleEnv+"=holder")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	lines := bufio.NewReader(out)
	if line, err := lines.ReadString('\n'); err != nil || line != "held\n" {
		t.Fatalf("the holder says %q, %v", line, err)
	}
	return cmd, lines, in.Close
}

// Killed while it holds, a program can continue nothing.
func TestHolderKilled(t *testing.T) {
	pids, files := two(t)
	cmd, _, _ := holder(t, pids)
	if held := Stopped(pids); !slices.Equal(held, pids) {
		t.Fatalf("%v are held, not %v", held, pids)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		grows(t, file)
	}
}

// Stopped itself, a program can continue nothing either, and its pipes stay open.
func TestHolderStopped(t *testing.T) {
	pids, files := two(t)
	cmd, lines, release := holder(t, pids)
	if err := cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		grows(t, file)
	}
	if err := cmd.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	// It takes its cut for none, whatever it was told meanwhile.
	if err := release(); err != nil {
		t.Fatal(err)
	}
	line, err := lines.ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(line, ErrLost.Error()) && !strings.Contains(line, context.DeadlineExceeded.Error()) {
		t.Errorf("the holder says %q", line)
	}
}

// A guard that is not in force lets nothing be stopped.
func TestNoGuard(t *testing.T) {
	pids, files := two(t)
	broken := Watchdog{Command: func() *exec.Cmd { return exec.Command("false") }}
	called := false
	if _, err := Hold(t.Context(), broken, pids, Bound, func(context.Context) error { called = true; return nil }); err == nil || called {
		t.Errorf("held without a guard: %v", err)
	}
	for _, file := range files {
		grows(t, file)
	}
}

func TestHoldRefuses(t *testing.T) {
	pids, _ := two(t)
	none := func(context.Context) error { return nil }
	if _, err := Hold(t.Context(), watchdog(), []int{os.Getpid()}, Bound, none); err == nil || !strings.Contains(err.Error(), vm) {
		t.Errorf("a process that is no VM: %v", err)
	}
	if err := syscall.Kill(pids[0], syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it is stopped", func() bool { return len(Stopped(pids[:1])) == 1 })
	if _, err := Hold(t.Context(), watchdog(), pids, Bound, none); err == nil || !strings.Contains(err.Error(), "kill -CONT") {
		t.Errorf("one that is stopped already: %v", err)
	}
	if err := Continue(pids); err != nil {
		t.Error(err)
	}
	eventually(t, "it goes on", func() bool { return len(Stopped(pids)) == 0 })
}

// A container has namespaces of its own, and its VM another number there.
func TestVMsInNamespace(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root, for a PID namespace of its own")
	}
	pid, file := container(t, &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWPID})
	other, _ := container(t, &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWPID})
	vms, others := vmsOf(t, pid), vmsOf(t, other)
	if len(vms) != 1 || len(others) != 1 || vms[0] == others[0] {
		t.Fatalf("VMs %v and %v", vms, others)
	}
	if again, err := VMs(vms[0]); err != nil || !slices.Equal(again, vms) {
		t.Errorf("of the VM itself: %v %v", again, err)
	}
	if _, err := VMs(os.Getpid()); err != nil && !errors.Is(err, ErrNone) {
		t.Errorf("got %v", err)
	}
	if _, err := Hold(t.Context(), watchdog(), append(vms, others...), Bound, func(context.Context) error { return nil }); err != nil {
		t.Error(err)
	}
	grows(t, file)
}

// What was started by somebody else, say by exec, is found by the container's cgroup.
func TestVMsInCgroup(t *testing.T) {
	root := "/sys/fs/cgroup"
	if _, err := os.Stat(root + "/cgroup.procs"); err != nil {
		if root += "/pids"; os.Geteuid() != 0 {
			t.Skip("needs root, for a cgroup of its own")
		}
	}
	group := filepath.Join(root, "cht-backup-test-"+strconv.Itoa(os.Getpid()))
	if err := os.Mkdir(group, 0o755); err != nil {
		t.Skipf("no cgroup can be made here: %v", err)
	}
	t.Cleanup(func() {
		eventually(t, "the cgroup can be removed", func() bool { return os.Remove(group) == nil })
	})
	join := func(pid int) {
		t.Helper()
		if err := os.WriteFile(group+"/cgroup.procs", []byte(strconv.Itoa(pid)), 0); err != nil {
			t.Skipf("no process can be put into a cgroup here: %v", err)
		}
	}
	sleep := exec.Command("sleep", "1000")
	if err := sleep.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = sleep.Process.Kill(); _ = sleep.Wait() })
	join(sleep.Process.Pid)
	pid, _ := container(t, nil)
	vms := vmsOf(t, pid)
	join(vms[0])
	if found, err := VMs(sleep.Process.Pid); err != nil || !slices.Equal(found, vms) {
		t.Errorf("found %v %v, not %v", found, err, vms)
	}
}
