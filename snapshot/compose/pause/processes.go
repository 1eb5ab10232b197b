package pause

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// vm is how the kernel names an Erlang VM. It tells it from tini, bash and couchjs,
// which share its container.
const vm = "beam.smp"

// ErrNone is the answer where no Erlang VM runs.
var ErrNone = errors.New("no process " + vm)

// process is what /proc tells of one.
type process struct {
	pid, parent int
	name        string
	// space is its PID namespace, group its cgroups, as texts to compare.
	space, group string
}

// VMs gives the Erlang VMs of the container that a process is in, or the process itself
// if it is one. In the container is what descends from the process, and what shares its
// PID namespace or cgroup, where those are not this program's own.
func VMs(pid int) ([]int, error) {
	all, err := processes()
	if err != nil {
		return nil, err
	}
	of, there := all[pid]
	if !there {
		return nil, fmt.Errorf("process %d: %w", pid, fs.ErrNotExist)
	}
	if of.name == vm {
		return []int{pid}, nil
	}
	own := all[os.Getpid()]
	var found []int
	for _, p := range all {
		if p.name != vm {
			continue
		}
		if descends(all, p.pid, pid) || of.space != "" && of.space != own.space && p.space == of.space || of.group != own.group && p.group == of.group {
			found = append(found, p.pid)
		}
	}
	if len(found) == 0 {
		return nil, fmt.Errorf("in the container of process %d: %w", pid, ErrNone)
	}
	slices.Sort(found)
	return found, nil
}

func descends(all map[int]process, pid, from int) bool {
	for range 100 { // /proc is read while it changes: no loop for ever
		if pid == from {
			return true
		}
		p, there := all[pid]
		if !there || p.parent <= 0 {
			return false
		}
		pid = p.parent
	}
	return false
}

func processes() (map[int]process, error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, err
	}
	all := map[int]process{}
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		dir := filepath.Join("/proc", e.Name())
		stat, err := os.ReadFile(filepath.Join(dir, "stat")) //nolint:gosec // of /proc
		if err != nil {
			continue // it has ended
		}
		p := process{pid: pid}
		if p.name, p.parent, err = parseStat(stat); err != nil {
			continue
		}
		p.space, _ = os.Readlink(filepath.Join(dir, "ns", "pid")) // "" where we may not
		group, _ := os.ReadFile(filepath.Join(dir, "cgroup"))     //nolint:gosec // of /proc
		p.group = string(group)
		all[pid] = p
	}
	return all, nil
}

// parseStat reads name and parent. The name stands in brackets and may hold anything.
func parseStat(stat []byte) (name string, parent int, err error) {
	open, end := bytes.IndexByte(stat, '('), bytes.LastIndexByte(stat, ')')
	if open < 0 || end < open {
		return "", 0, errors.New("no stat of a process")
	}
	fields := strings.Fields(string(stat[end+1:]))
	if len(fields) < 2 {
		return "", 0, errors.New("no stat of a process")
	}
	parent, err = strconv.Atoi(fields[1])
	return string(stat[open+1 : end]), parent, err
}

// stopped tells whether every thread of a process is in state T.
func stopped(pid int) (bool, error) {
	threads, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
	if err != nil {
		return false, fmt.Errorf("process %d has ended: %w", pid, err)
	}
	for _, t := range threads {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%s/stat", pid, t.Name())) //nolint:gosec // of /proc
		if err != nil {
			return false, nil // a thread that just ended: the list is not the present one
		}
		end := bytes.LastIndexByte(stat, ')')
		if end < 0 || len(stat) < end+3 || stat[end+2] != 'T' {
			return false, nil
		}
	}
	return len(threads) > 0, nil
}

// Stopped gives those of the processes that are stopped, or partly so.
func Stopped(pids []int) (held []int) {
	for _, pid := range pids {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid)) //nolint:gosec // of /proc
		if err != nil {
			continue
		}
		if end := bytes.LastIndexByte(stat, ')'); end >= 0 && len(stat) > end+2 && stat[end+2] == 'T' {
			held = append(held, pid)
		}
	}
	return held
}
