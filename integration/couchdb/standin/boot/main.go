package boot

import (
	"encoding/json"
	"fmt"
	"log"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"syscall"

	"github.com/medic/cht-backup/integration/couchdb/standin/node"
)

// vm is the name that the process serving CouchDB shows in /proc/PID/comm. Who
// pauses CouchDB finds it by that name.
const vm = "beam.smp"

// couchdbUser is the uid and gid of "couchdb" in the official image.
const couchdbUser = 5984

// Main decides by its own name and arguments what this process is.
func Main(args []string) int {
	if filepath.Base(args[0]) == curl {
		return runCurl(args[1:], os.Stdin, os.Stdout)
	}
	if filepath.Base(args[0]) == vm {
		return beam()
	}
	rest := args[1:]
	if len(rest) > 0 && rest[0] == "-image-spec" {
		out, err := json.MarshalIndent(ImageSpec(), "", "  ")
		if err != nil {
			return 1
		}
		fmt.Println(string(out))
		return 0
	}
	rest = slices.DeleteFunc(slices.Clone(rest), func(a string) bool { return a == "--" || filepath.Base(a) == "docker-entrypoint.sh" })
	if len(rest) > 0 && filepath.Base(rest[0]) != "couchdb" && rest[0][0] != '-' && rest[0][0] != '+' {
		path, err := exec.LookPath(rest[0])
		if err == nil {
			err = syscall.Exec(path, rest, os.Environ())
		}
		log.Printf("run %s: %v", rest[0], err)
		return 127
	}
	code, err := initProcess()
	if err != nil {
		log.Print(err)
		return 1
	}
	return code
}

func beam() int {
	// Where the binary runs under another file name (tests, a read-only root)
	// the kernel shows that name: say who we are.
	_ = os.WriteFile("/proc/self/comm", []byte(vm), 0) // cosmetic where /proc is not there
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM, syscall.SIGINT)
	go func() {
		<-stop
		os.Exit(0) // what was acknowledged is on disk
	}()
	if err := node.Run(node.FromEnvironment()); err != nil {
		log.Print(err)
		return 1
	}
	return 0
}

// initProcess is process 1: prepare, start the VM, forward signals, reap.
func initProcess() (int, error) {
	set := node.FromEnvironment()
	signals := make(chan os.Signal, 16)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP, syscall.SIGQUIT, syscall.SIGUSR1, syscall.SIGUSR2, syscall.SIGCHLD)
	ready := make(chan error, 1)
	go func() { ready <- prepare(set) }()
	for preparing := true; preparing; {
		select {
		case err := <-ready:
			if err != nil {
				return 1, err
			}
			preparing = false
		case s := <-signals:
			if s == syscall.SIGTERM || s == syscall.SIGINT {
				return 143, nil
			}
		}
	}
	pid, err := startVM(set)
	if err != nil {
		return 1, err
	}
	go setUp(set)
	for s := range signals {
		if s != syscall.SIGCHLD {
			_ = syscall.Kill(pid, s.(syscall.Signal)) // gone already: its SIGCHLD follows
			continue
		}
		if code, ended := reap(pid); ended {
			return code, nil
		}
	}
	return 0, nil
}

func reap(vmPID int) (code int, ended bool) {
	for {
		var ws syscall.WaitStatus
		pid, err := syscall.Wait4(-1, &ws, syscall.WNOHANG, nil)
		if err != nil || pid <= 0 {
			return code, ended
		}
		if pid == vmPID {
			if code, ended = ws.ExitStatus(), true; ws.Signaled() {
				code = 128 + int(ws.Signal())
			}
		}
	}
}

func startVM(set node.Settings) (int, error) {
	exe := filepath.Join(set.Root, "erts", "bin", vm)
	if _, err := os.Stat(exe); err != nil {
		if exe, err = os.Executable(); err != nil {
			return 0, fmt.Errorf("find own binary: %w", err)
		}
	}
	argv := []string{filepath.Join(set.Root, "erts", "bin", vm), "-name", set.Name, "-setcookie", set.Cookie}
	attr := &os.ProcAttr{Files: []*os.File{os.Stdin, os.Stdout, os.Stderr}, Env: os.Environ(), Sys: &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}}
	if os.Getuid() == 0 && set.Root == "/opt/couchdb" {
		attr.Sys.Credential = &syscall.Credential{Uid: couchdbUser, Gid: couchdbUser}
	}
	// The death signal is tied to the starting thread: keep it for good.
	runtime.LockOSThread()
	p, err := os.StartProcess(exe, argv, attr)
	if err != nil && attr.Sys.Credential != nil {
		attr.Sys.Credential = nil // no CAP_SETUID: run as who we are
		p, err = os.StartProcess(exe, argv, attr)
	}
	if err != nil {
		return 0, fmt.Errorf("start %s: %w", vm, err)
	}
	return p.Pid, nil
}
