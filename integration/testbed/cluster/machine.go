package cluster

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/medic/cht-backup/integration/testbed/mounts"
	"github.com/medic/cht-backup/integration/testbed/tool"
)

// needed are the tools that must be there, and the Debian packages they are in.
var needed = map[string]string{
	"containerd": "containerd", "ctr": "containerd", "runc": "runc",
	"/usr/lib/cni/bridge": "containernetworking-plugins",
	"iptables":            "iptables", "nft": "nftables", "conntrack": "conntrack", "socat": "socat", "ethtool": "ethtool",
	"mkfs.xfs": "xfsprogs", "mkfs.ext4": "e2fsprogs", "ip": "iproute2", "nsenter": "util-linux", "mount": "mount",
}

func (t *Testbed) installPackages() error { return t.install(needed) }

// install installs the packages of those tools that are not there.
func (t *Testbed) install(tools map[string]string) error {
	var missing []string
	for name, pkg := range tools {
		if _, err := exec.LookPath(name); err != nil && !slices.Contains(missing, pkg) {
			missing = append(missing, pkg)
		}
	}
	if len(missing) == 0 {
		return nil
	}
	slices.Sort(missing)
	t.logf("installing %s", strings.Join(missing, " "))
	if err := tool.Run("apt-get", "update", "-q"); err != nil {
		return err
	}
	return tool.Run(append([]string{"env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "install", "-qy", "--no-install-recommends"}, missing...)...)
}

// The kubelet sets the first ones for the whole machine. One inotify instance per
// container log and cgroup exceeds the kernel's default of the last.
var sysctls = []string{"vm.overcommit_memory", "vm.panic_on_oom", "kernel.panic", "kernel.panic_on_oops",
	"kernel.keys.root_maxkeys", "kernel.keys.root_maxbytes", inotifyInstances}

const inotifyInstances = "fs.inotify.max_user_instances"

func sysctlFile(name string) string {
	return filepath.Join("/proc/sys", strings.ReplaceAll(name, ".", "/"))
}

func readSysctls() map[string]string {
	all := map[string]string{}
	for _, name := range sysctls {
		if data, err := os.ReadFile(sysctlFile(name)); err == nil {
			all[name] = strings.TrimSpace(string(data))
		}
	}
	return all
}

func raiseInotify(was string) error {
	if n, err := strconv.Atoi(was); err != nil || n >= 1024 {
		return nil
	}
	return os.WriteFile(sysctlFile(inotifyInstances), []byte("1024"), 0)
}

func restoreSysctls(all map[string]string) error {
	var failed error
	for name, value := range all {
		if err := os.WriteFile(sysctlFile(name), []byte(value), 0); err != nil {
			failed = errors.Join(failed, fmt.Errorf("restore %s: %w", name, err))
		}
	}
	return failed
}

// absent returns the directories that the kubelet and containerd make outside of
// Dir and that are not there yet, so that teardown knows which are its to remove.
func absent() []string {
	var made []string
	for _, dir := range []string{"/var/lib/kubelet", "/var/log/containers", "/var/log/pods", "/var/lib/cni", "/run/containerd",
		"/opt/containerd", "/opt/cni", "/etc/cni", netnsDir} {
		if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
			made = append(made, dir)
		}
	}
	return made
}

// hierarchies returns where cgroups are mounted: one place on a machine with
// version 2, one per controller with version 1.
func hierarchies() ([]string, error) {
	all, err := mounts.List()
	if err != nil {
		return nil, err
	}
	var dirs []string
	for _, m := range all {
		if strings.HasPrefix(m.FSType, "cgroup") && mounts.Within("/sys/fs/cgroup", m.Path) {
			dirs = append(dirs, m.Path)
		}
	}
	return dirs, nil
}

// makeCgroups makes the root below which the kubelet keeps all pods, so that they
// can be told from anybody else's.
func makeCgroups() error {
	dirs, err := hierarchies()
	if err != nil {
		return err
	}
	for _, dir := range dirs {
		own := filepath.Join(dir, cgroup)
		if err := os.MkdirAll(own, 0o755); err != nil {
			return fmt.Errorf("make cgroup: %w", err)
		}
		// A new cpuset allows nothing until it is told what.
		for _, file := range []string{"cpuset.cpus", "cpuset.mems"} {
			if data, err := os.ReadFile(filepath.Join(dir, file)); err == nil {
				if err := os.WriteFile(filepath.Join(own, file), data, 0); err != nil {
					return fmt.Errorf("make cgroup: %w", err)
				}
			}
		}
		if data, err := os.ReadFile(filepath.Join(dir, "cgroup.controllers")); err == nil && dir == "/sys/fs/cgroup" {
			for _, c := range strings.Fields(string(data)) {
				_ = os.WriteFile(filepath.Join(dir, "cgroup.subtree_control"), []byte("+"+c), 0)
				_ = os.WriteFile(filepath.Join(own, "cgroup.subtree_control"), []byte("+"+c), 0)
			}
		}
	}
	return nil
}

// emptyCgroups kills what is left in the pods' cgroups: those processes are ours
// by where they are, even when containerd's records are lost.
func emptyCgroups() error {
	deadline := time.Now().Add(15 * time.Second)
	for {
		pids, err := cgroupPIDs()
		if err != nil || len(pids) == 0 {
			return err
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("processes %v of the testbed's pods do not die", pids)
		}
		for _, pid := range pids {
			_ = unix.Kill(pid, unix.SIGKILL)
		}
		time.Sleep(20 * time.Millisecond) // a cgroup of version 1 cannot notify
	}
}

func cgroupPIDs() ([]int, error) {
	var pids []int
	err := eachCgroup(func(dir string) error {
		data, err := os.ReadFile(filepath.Join(dir, "cgroup.procs"))
		if err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, unix.ENODEV) && !errors.Is(err, unix.EOPNOTSUPP) {
			return err
		}
		for _, line := range strings.Fields(string(data)) {
			if pid, err := strconv.Atoi(line); err == nil && pid > 1 && !slices.Contains(pids, pid) {
				pids = append(pids, pid)
			}
		}
		return nil
	})
	return pids, err
}

// eachCgroup visits the testbed's cgroups, parents first.
func eachCgroup(visit func(dir string) error) error {
	dirs, err := hierarchies()
	if err != nil {
		return err
	}
	for _, dir := range dirs {
		err := filepath.WalkDir(filepath.Join(dir, cgroup), func(p string, d fs.DirEntry, err error) error {
			if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENODEV) {
				return nil
			}
			if err != nil || !d.IsDir() {
				return err
			}
			return visit(p)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func removeCgroups() error {
	var dirs []string
	if err := eachCgroup(func(dir string) error { dirs = append(dirs, dir); return nil }); err != nil {
		return err
	}
	slices.Reverse(dirs)
	for _, dir := range dirs {
		var err error
		// The kernel drops the last tasks of a cgroup a moment after they died.
		for range 100 {
			if err = unix.Rmdir(dir); !errors.Is(err, unix.EBUSY) {
				break
			}
			time.Sleep(20 * time.Millisecond)
		}
		if err != nil && !errors.Is(err, unix.ENOENT) {
			return fmt.Errorf("remove cgroup %s: %w", dir, err)
		}
	}
	return nil
}
