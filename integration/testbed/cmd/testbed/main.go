// Command testbed gives tests a real one-node Kubernetes on this machine.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/medic/cht-backup/integration/testbed/build"
	"github.com/medic/cht-backup/integration/testbed/cluster"
	"github.com/medic/cht-backup/integration/testbed/selftest"
)

const usage = `usage: testbed COMMAND

  up                        start the cluster if it does not run; prints its kubeconfig's path last
  down                      take it away with all it left
  lose                      as down, but the storage's volumes and snapshots stay for the next up
  status                    say what is wrong with it; exit code 1 if anything is
  selftest                  prove that pods, names, exec, volumes, freezes, snapshots and restores work
  image build ...           write an image archive (image build -h)
  image load FILE...        load image archives; prints the names to use in pods
  image tag NAME NEW        give a loaded image another name too
  node-exec -- CMD...       run a command in the node's network namespace
  start COMPONENT           start a component that does not run
  restart COMPONENT         stop and start it
  kill COMPONENT [SIGNAL]   send it a signal (KILL)
  logs COMPONENT            print the path of its log
  netpol                    enforce NetworkPolicies as long as standard input stays open;
                            prints "enforcing" (built the first time)
  kubectl ARGS...           kubectl on this cluster (built the first time)
  control-plane DIR         run a Kubernetes without nodes, on loopback and with its files in the new
                            folder DIR, as long as standard input stays open: etcd, API server,
                            controllers, scheduler, snapshot controller; prints its kubeconfig's path
                            once it serves. Needs no root, and no other cluster
  storage COMMAND ID...     do what the cloud behind driver ebs.csi.aws.com does: snapshot VOLUME
                            SNAPSHOT, copy SNAPSHOT NEW, volume SNAPSHOT VOLUME BYTES,
                            blank VOLUME BYTES, delete-snapshot, delete-volume
  arm-thaw [DURATION]       thaw every volume after DURATION (20s), whatever becomes of the
                            caller; prints a pid, whose end disarms it

environment: TESTBED_DIR (/var/lib/cht-testbed), TESTBED_CACHE (~/.cache/cht-testbed),
TESTBED_SOURCE (this module's folder; found from the current directory otherwise)
`

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "testbed:", err)
		os.Exit(1)
	}
}

var errUsage = errors.New("no such command; run testbed without arguments for help")

func run(ctx context.Context, args []string) error {
	if len(args) == 0 || args[0] == "-h" || args[0] == "--help" || args[0] == "help" {
		fmt.Print(usage)
		return nil
	}
	bed := newTestbed()
	command, rest := args[0], args[1:]
	switch {
	case command == "up" && len(rest) == 0:
		return up(ctx, bed)
	case command == "down" && len(rest) == 0:
		return bed.Down(ctx)
	case command == "lose" && len(rest) == 0:
		return bed.Lose(ctx)
	case command == "control-plane" && len(rest) == 1:
		return controlPlane(ctx, bed, rest[0])
	case command == "storage" && len(rest) > 0:
		return storage(ctx, bed, rest)
	case command == "status" && len(rest) == 0:
		return bed.Healthy(ctx)
	case command == "selftest" && len(rest) == 0:
		return selftest.Run(ctx, bed, os.Stdout)
	case command == "image" && len(rest) > 0 && rest[0] == "build":
		return imageBuild(rest[1:])
	case command == "image" && len(rest) > 1 && rest[0] == "load":
		return imageLoad(ctx, bed, rest[1:])
	case command == "image" && len(rest) == 3 && rest[0] == "tag":
		return bed.TagImage(ctx, rest[1], rest[2])
	case command == "node-exec":
		return nodeExec(rest)
	case command == "netpol" && len(rest) == 0:
		return netpol(ctx, bed)
	case command == "kubectl":
		return kubectl(ctx, bed, rest)
	case command == "start" && len(rest) == 1:
		return bed.StartComponent(ctx, rest[0])
	case command == "restart" && len(rest) == 1:
		return bed.RestartComponent(ctx, rest[0])
	case command == "kill" && len(rest) == 1:
		return bed.KillComponent(rest[0], "KILL")
	case command == "kill" && len(rest) == 2:
		return bed.KillComponent(rest[0], rest[1])
	case command == "logs" && len(rest) == 1:
		return logs(bed, rest[0])
	case command == "arm-thaw" && len(rest) < 2:
		return armThaw(bed, rest)
	case command == cluster.ThawAfterCommand && len(rest) == 1:
		after, err := time.ParseDuration(rest[0])
		if err != nil {
			return err
		}
		return bed.ThawAfter(after)
	}
	return errUsage
}

func up(ctx context.Context, bed *cluster.Testbed) error {
	source, err := findSource()
	if err != nil {
		return err
	}
	bed.Source = source
	if err := bed.Up(ctx); err != nil {
		return err
	}
	fmt.Println(bed.Kubeconfig())
	return nil
}

func newTestbed() *cluster.Testbed {
	cache := os.Getenv("TESTBED_CACHE")
	if cache == "" {
		base, err := os.UserCacheDir()
		if err != nil {
			base = "/var/cache"
		}
		cache = filepath.Join(base, "cht-testbed")
	}
	dir := os.Getenv("TESTBED_DIR")
	if dir == "" {
		dir = "/var/lib/cht-testbed"
	}
	return &cluster.Testbed{Dir: filepath.Clean(dir), Cache: cache, Log: os.Stderr}
}

const module = "module github.com/medic/cht-backup/integration/testbed\n"

// findSource looks for this module from the current directory upwards, and beside
// it where the whole project lies.
func findSource() (string, error) {
	if dir := os.Getenv("TESTBED_SOURCE"); dir != "" {
		return filepath.Abs(dir)
	}
	here, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for dir := here; ; dir = filepath.Dir(dir) {
		for _, candidate := range []string{dir, filepath.Join(dir, "integration/testbed")} {
			if data, err := os.ReadFile(filepath.Join(candidate, "go.mod")); err == nil && strings.HasPrefix(string(data), module) {
				return candidate, nil
			}
		}
		if dir == "/" {
			return "", fmt.Errorf("the sources of the testbed are not above %s: set TESTBED_SOURCE", here)
		}
	}
}

func logs(bed *cluster.Testbed, name string) error {
	file, err := bed.LogFile(name)
	if err == nil {
		fmt.Println(file)
	}
	return err
}

func armThaw(bed *cluster.Testbed, args []string) error {
	after := 20 * time.Second
	if len(args) == 1 {
		var err error
		if after, err = time.ParseDuration(args[0]); err != nil {
			return err
		}
	}
	pid, err := bed.ArmThaw(after)
	if err == nil {
		fmt.Println(pid)
	}
	return err
}

// nodeExec becomes the command, so that signals and the exit code are its own.
func nodeExec(args []string) error {
	if len(args) > 0 && args[0] == "--" {
		args = args[1:]
	}
	if len(args) == 0 {
		return errors.New("node-exec: which command?")
	}
	return become(cluster.NodeCommand(args), os.Environ())
}

func kubectl(ctx context.Context, bed *cluster.Testbed, args []string) error {
	source, err := findSource()
	if err != nil {
		return err
	}
	path, err := build.Kubectl(ctx, source, bed.Cache, bed.Log)
	if err != nil {
		return err
	}
	return become(append([]string{path}, args...), append(os.Environ(), "KUBECONFIG="+bed.Kubeconfig()))
}

// netpol becomes the enforcer, so that its standard input is the caller's.
func netpol(ctx context.Context, bed *cluster.Testbed) error {
	source, err := findSource()
	if err != nil {
		return err
	}
	path, err := build.Netpol(ctx, source, bed.Cache, bed.Log)
	if err != nil {
		return err
	}
	argv, err := bed.EnforcerCommand(path)
	if err != nil {
		return err
	}
	return become(argv, os.Environ())
}

func become(argv, env []string) error {
	path, err := exec.LookPath(argv[0])
	if err != nil {
		return err
	}
	return syscall.Exec(path, argv, env)
}
