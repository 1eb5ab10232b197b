package freezer

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/snapshot/quiesce/protocol"
)

// The test binary plays three more parts, each as a process of its own: the
// outside thaw, a hold that dies if it tries to freeze, and the tests on a real
// file system, which need mounts that nobody else sees.
const (
	roleEnv     = "FREEZER_TEST_ROLE"
	volumeEnv   = "FREEZER_TEST_VOLUME"
	scratchEnv  = "FREEZER_TEST_SCRATCH"
	watchdogEnv = "FREEZER_TEST_WATCHDOG"
	roleInside  = "inside"
	roleThaw    = "thaw"
	roleNoIoctl = "hold-without-freeze"
)

// outsideThaw is when the outside thaw comes, whatever became of the test.
const outsideThaw = 20 * time.Second

func TestMain(m *testing.M) {
	switch os.Getenv(roleEnv) {
	case roleThaw:
		thawLater()
	case roleNoIoctl:
		holdWithoutFreeze()
	default:
		os.Exit(m.Run())
	}
}

// thawLater opens the volume while it can be opened, says so, waits, thaws.
func thawLater() {
	volume, err := OpenVolume(os.Getenv(volumeEnv))
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	fmt.Println("armed")
	time.Sleep(outsideThaw)
	fmt.Println(volume.Thaw())
}

// holdWithoutFreeze serves a hold in a process that the kernel kills at its
// first FIFREEZE or FITHAW: if it lives to refuse, it has made no such call.
func holdWithoutFreeze() {
	if err := dieOn(fiFreeze, fiThaw); err != nil {
		fmt.Println("no seccomp:", err)
		os.Exit(3)
	}
	dir := os.Getenv(volumeEnv)
	err := Hold(context.Background(), os.Stdin, os.Stdout, Options{Volume: dir, Scratch: os.Getenv(scratchEnv), MaxStall: time.Second, Watchdog: os.Getenv(watchdogEnv)})
	if err != nil {
		os.Exit(4)
	}
}

// dieOn has the kernel kill this process at an ioctl with one of the requests.
func dieOn(requests ...uint32) error {
	const loadWord, jumpEqual, answer = unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, unix.BPF_RET | unix.BPF_K
	const offsetNumber, offsetArg1 = 0, 24 // in struct seccomp_data, little endian
	filter := []unix.SockFilter{
		{Code: loadWord, K: offsetNumber},
		{Code: jumpEqual, K: unix.SYS_IOCTL, Jf: uint8(len(requests) + 1)},
		{Code: loadWord, K: offsetArg1},
	}
	for i, request := range requests {
		filter = append(filter, unix.SockFilter{Code: jumpEqual, K: request, Jt: uint8(len(requests) - i)})
	}
	filter = append(filter, unix.SockFilter{Code: answer, K: unix.SECCOMP_RET_ALLOW}, unix.SockFilter{Code: answer, K: unix.SECCOMP_RET_KILL_PROCESS})
	program := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return err
	}
	_, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, unix.SECCOMP_FILTER_FLAG_TSYNC, uintptr(unsafe.Pointer(&program)))
	runtime.KeepAlive(filter)
	if errno != 0 {
		return errno
	}
	return nil
}

// TestRealFileSystem runs TestInside in a mount namespace of its own.
func TestRealFileSystem(t *testing.T) {
	if os.Getenv(roleEnv) != "" {
		t.Skip("only from outside")
	}
	if os.Geteuid() != 0 {
		t.Skip("needs root, to mount and to freeze a file system of its own")
	}
	if _, err := os.Stat("/dev/loop-control"); err != nil {
		t.Skip("this machine has no loop devices: ", err)
	}
	if _, err := exec.LookPath("mkfs.ext4"); err != nil {
		t.Skip("mkfs.ext4 is not installed")
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestInside$", "-test.v", "-test.timeout=2m")
	cmd.Env = append(os.Environ(), roleEnv+"="+roleInside)
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS}
	out, err := cmd.CombinedOutput()
	if errors.Is(err, syscall.EPERM) {
		t.Skip("no mount namespace may be made here: ", err)
	}
	text := string(out)
	if i := strings.Index(text, "cannot mount: "); i >= 0 {
		t.Skip(text[i:])
	}
	if err != nil || !strings.Contains(text, "--- PASS: TestInside") {
		t.Fatalf("%v\n%s", err, text)
	}
	t.Log(text)
}

// volumeFixture is a loop-mounted ext4 with an outside thaw armed.
type volumeFixture struct {
	dir, scratch string
}

func TestInside(t *testing.T) {
	if os.Getenv(roleEnv) != roleInside {
		t.Skip("runs in the mount namespace that TestRealFileSystem makes")
	}
	f := makeVolume(t)
	t.Run("shared is refused before any freeze call", f.sharedRefused)
	t.Run("hold, release", f.release)
	t.Run("end of input", f.endOfInput)
	t.Run("thawed meanwhile", f.thawedMeanwhile)
	t.Run("deadline", f.deadline)
	t.Run("killed holder", f.killedHolder)
}

func makeVolume(t *testing.T) *volumeFixture {
	t.Helper()
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		t.Skip("cannot mount: ", err)
	}
	base, err := os.MkdirTemp("", "frz")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(base) })
	f := &volumeFixture{dir: filepath.Join(base, "vol"), scratch: filepath.Join(base, "scratch")}
	for _, dir := range []string{f.dir, f.scratch} {
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	image := filepath.Join(base, "image")
	for _, args := range [][]string{
		{"truncate", "-s", "16M", image},
		{"mkfs.ext4", "-q", "-F", image},
		{"mount", "-o", "loop", image, f.dir},
	} {
		if out, err := exec.CommandContext(t.Context(), args[0], args[1:]...).CombinedOutput(); err != nil {
			t.Skipf("cannot mount: %v: %v: %s", args, err, out)
		}
	}
	t.Cleanup(func() {
		// Detached: Hold keeps the volume open until its process ends.
		if err := unix.Unmount(f.dir, unix.MNT_DETACH); err != nil {
			t.Errorf("unmount: %v", err)
		}
	})
	// Armed before anything else, in a session of its own: it comes also when
	// this process is killed.
	thaw := exec.Command(os.Args[0])
	thaw.Env = append(os.Environ(), roleEnv+"="+roleThaw, volumeEnv+"="+f.dir)
	thaw.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	thaw.Dir = "/"
	said, err := thaw.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := thaw.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { // after every freeze is over, before the unmount
		_ = f.device(t).Thaw()
		_ = thaw.Process.Kill()
		_ = thaw.Wait()
	})
	if line, err := bufio.NewReader(said).ReadString('\n'); line != "armed\n" {
		t.Fatalf("the outside thaw is not armed: %q, %v", line, err)
	}
	return f
}

func (f *volumeFixture) device(t *testing.T) *Volume {
	t.Helper()
	volume, err := OpenVolume(f.dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = volume.dir.Close() })
	return volume
}

// frozen asks the kernel: a second freeze of a frozen file system is EBUSY.
func (f *volumeFixture) frozen(t *testing.T) bool {
	t.Helper()
	volume := f.device(t)
	err := volume.Freeze()
	if errors.Is(err, unix.EBUSY) {
		return true
	}
	if err != nil {
		t.Fatalf("freeze: %v", err)
	}
	if err := volume.Thaw(); err != nil {
		t.Fatalf("thaw: %v", err)
	}
	return false
}

// write puts a file on the volume, in a goroutine, and tells when it is on disk.
func (f *volumeFixture) write(name string) <-chan error {
	done := make(chan error, 1)
	go func() {
		file, err := os.Create(filepath.Join(f.dir, name))
		if err == nil {
			_, err = file.WriteString("x")
			err = errors.Join(err, file.Sync(), file.Close())
		}
		done <- err
	}()
	return done
}

// hold runs Hold on the volume, with a real watchdog, until it is held.
func (f *volumeFixture) hold(t *testing.T, maxStall time.Duration) (in *io.PipeWriter, said *bufio.Reader) {
	t.Helper()
	socket, _, _ := serve(t, f.device(t))
	stdin, in := io.Pipe()
	out, stdout := io.Pipe()
	ended := make(chan error, 1)
	go func() {
		ended <- Hold(t.Context(), stdin, stdout, Options{Volume: f.dir, Scratch: f.scratch, MaxStall: maxStall, Watchdog: socket})
		_ = stdout.Close()
	}()
	t.Cleanup(func() { _ = in.Close(); _ = out.Close(); t.Log("hold ended with: ", <-ended) })
	said = bufio.NewReader(out)
	says(t, said, protocol.Ready)
	if _, err := io.WriteString(in, "hold\n"); err != nil {
		t.Fatal(err)
	}
	says(t, said, protocol.Held)
	if !f.frozen(t) {
		t.Fatal("said held, but the kernel says that nothing is frozen")
	}
	return in, said
}

func (f *volumeFixture) release(t *testing.T) {
	in, said := f.hold(t, outsideThaw/2)
	written := f.write("during")
	select {
	case err := <-written:
		t.Errorf("a write went through while held: %v", err)
	default:
	}
	_, _ = io.WriteString(in, "release\n")
	if m := says(t, said, protocol.Released); !m.Held {
		t.Errorf("released: %+v", m)
	}
	if err := <-written; err != nil {
		t.Errorf("the write that waited: %v", err)
	}
	if f.frozen(t) {
		t.Error("left frozen")
	}
}

func (f *volumeFixture) endOfInput(t *testing.T) {
	in, said := f.hold(t, outsideThaw/2)
	_ = in.Close()
	if m := says(t, said, protocol.Released); m.Held || m.Reason != api.ReasonQuiesceLost {
		t.Errorf("released: %+v", m)
	}
	if f.frozen(t) {
		t.Error("left frozen")
	}
}

func (f *volumeFixture) thawedMeanwhile(t *testing.T) {
	in, said := f.hold(t, outsideThaw/2)
	if err := f.device(t).Thaw(); err != nil {
		t.Fatal(err)
	}
	_, _ = io.WriteString(in, "release\n")
	if m := says(t, said, protocol.Released); m.Held || !strings.Contains(m.Text, ErrNotFrozen.Error()) {
		t.Errorf("released: %+v; the freeze was not held", m)
	}
}

func (f *volumeFixture) deadline(t *testing.T) {
	_, said := f.hold(t, 500*time.Millisecond)
	if m := says(t, said, protocol.Released); m.Held || m.Reason != api.ReasonStallExceeded {
		t.Errorf("released: %+v", m)
	}
	if f.frozen(t) {
		t.Error("left frozen")
	}
}

// killedHolder: the process that froze is killed; only the watchdog can thaw.
// A freeze outlives its process, so this fails without one.
func (f *volumeFixture) killedHolder(t *testing.T) {
	device := &reporting{Volume: f.device(t), thaws: make(chan error, 100)}
	_, dial, _ := serve(t, device)
	if err := <-device.thaws; !errors.Is(err, ErrNotFrozen) { // at start
		t.Fatal(err)
	}
	conn, said := dial()
	_, _ = io.WriteString(conn, "arm 19000\n")
	if line, err := said.ReadString('\n'); line != "armed\n" {
		t.Fatal(line, err)
	}
	if err := f.device(t).Freeze(); err != nil {
		t.Fatal(err)
	}
	_ = conn.Close() // what the kernel does for a killed process
	if err := <-device.thaws; err != nil {
		t.Errorf("the watchdog's thaw: %v", err)
	}
	if f.frozen(t) {
		t.Error("left frozen")
	}
}

// reporting is a volume that tells of each thaw.
type reporting struct {
	*Volume
	thaws chan error
}

func (r *reporting) Thaw() error {
	err := r.Volume.Thaw()
	r.thaws <- err
	return err
}

// sharedRefused: what lies on a file system that others use is refused, and the
// kernel is witness that no freeze call was made.
func (f *volumeFixture) sharedRefused(t *testing.T) {
	base := filepath.Dir(f.dir)
	mounts := map[string]string{"a directory of it": filepath.Join(f.dir, "pvc-1"), "the whole of it, again": f.dir}
	if err := os.Mkdir(filepath.Join(f.dir, "pvc-1"), 0o700); err != nil {
		t.Fatal(err)
	}
	at := filepath.Join(base, "shared")
	if err := os.Mkdir(at, 0o700); err != nil {
		t.Fatal(err)
	}
	refuse := func(t *testing.T, volume string, env ...string) {
		t.Helper()
		out, err := f.sealed(t, volume, env...)
		if strings.Contains(out, "no seccomp") {
			t.Skip("the kernel has no seccomp to witness: ", out)
		}
		var exit *exec.ExitError
		if !errors.As(err, &exit) || exit.ExitCode() != 4 || !strings.Contains(out, api.ReasonSharedFileSystem) {
			t.Errorf("%s: ended with %v and said %s; want a refusal with %s and no freeze call", volume, err, out, api.ReasonSharedFileSystem)
		}
		if err := <-f.write("after-refusal"); err != nil {
			t.Errorf("a write after the refusal: %v", err)
		}
	}
	for name, from := range mounts {
		t.Run(name, func(t *testing.T) {
			if err := unix.Mount(from, at, "", unix.MS_BIND, ""); err != nil {
				t.Fatal(err)
			}
			defer func() {
				if err := unix.Unmount(at, 0); err != nil {
					t.Error(err)
				}
			}()
			refuse(t, at)
		})
	}
	t.Run("not even mounted", func(t *testing.T) { refuse(t, filepath.Join(f.dir, "pvc-1")) })
	t.Run("the root file system", func(t *testing.T) { refuse(t, "/") })
	// No mount of its own gives this one away; st_dev does.
	t.Run("with the freezer's own files on it", func(t *testing.T) { refuse(t, f.dir, scratchEnv+"="+filepath.Join(f.dir, "pvc-1")) })
	// The proof can fail: on a volume that is its own the same process freezes, and dies.
	t.Run("its own is frozen", func(t *testing.T) {
		socket, _, _ := serve(t, f.device(t))
		out, err := f.sealed(t, f.dir, watchdogEnv+"="+socket)
		if strings.Contains(out, "no seccomp") {
			t.Skip("the kernel has no seccomp to witness: ", out)
		}
		var exit *exec.ExitError
		if !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGSYS {
			t.Errorf("ended with %v, want SIGSYS at the freeze call; it said %s", err, out)
		}
	})
}

// sealed runs a hold that dies at its first freeze call.
func (f *volumeFixture) sealed(t *testing.T, volume string, env ...string) (string, error) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(append(os.Environ(), roleEnv+"="+roleNoIoctl, volumeEnv+"="+volume, scratchEnv+"="+f.scratch), env...)
	cmd.Stdin = strings.NewReader("hold\n")
	var out bytes.Buffer
	cmd.Stdout = &out
	err := cmd.Run()
	return out.String(), err
}

func says(t *testing.T, said *bufio.Reader, state protocol.State) (m protocol.Message) {
	t.Helper()
	line, err := said.ReadBytes('\n')
	if err == nil {
		err = json.Unmarshal(line, &m)
	}
	if err != nil || m.State != state {
		t.Fatalf("the node said %+v (%v), want state %q", m, err, state)
	}
	return m
}
