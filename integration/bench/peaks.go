package main

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"github.com/medic/cht-backup/integration/bench/worker"
)

// The product's processes are known by their command lines, as they are on the machine
// that the testbed's pods run on.
const (
	binary            = "cht-backup"
	copierCommand     = "copier"
	controllerCommand = "controller"
)

// peaks are the most that any one process of a kind took.
type peaks struct {
	resident    int64 // bytes
	descriptors int
	processes   int // that were seen
}

// lookEvery is how often the processes are looked at. What they peak at is kept by the
// kernel; only descriptors can be missed between two looks.
const lookEvery = 20 * time.Millisecond

// watchPeaks looks at the product's processes of some subcommand until it is told to stop,
// and then tells their peaks since it began.
func watchPeaks(command string) (stop func() peaks) {
	ended, result := make(chan struct{}), make(chan peaks)
	go func() {
		var p peaks
		seen := map[int]bool{}
		for {
			for _, pid := range processes("/proc", command) {
				if !seen[pid] {
					seen[pid] = true
					// From now on its peak is this one's; where that is refused, it is since
					// the process began.
					_ = os.WriteFile(filepath.Join("/proc", strconv.Itoa(pid), "clear_refs"), []byte("5"), 0)
				}
				p.look("/proc", pid)
			}
			p.processes = len(seen)
			select {
			case <-ended:
				result <- p
				return
			case <-time.After(lookEvery):
			}
		}
	}()
	return func() peaks { close(ended); return <-result }
}

// processes are the pids of the product's processes of a subcommand.
func processes(proc, command string) (pids []int) {
	all, _ := filepath.Glob(filepath.Join(proc, "[0-9]*", "cmdline")) // the pattern is good
	for _, file := range all {
		text, err := os.ReadFile(file)
		if err != nil {
			continue // it ended
		}
		argv := bytes.Split(text, []byte{0})
		if filepath.Base(string(argv[0])) != binary || !slices.ContainsFunc(argv[1:], func(a []byte) bool { return string(a) == command }) {
			continue
		}
		if pid, err := strconv.Atoi(filepath.Base(filepath.Dir(file))); err == nil {
			pids = append(pids, pid)
		}
	}
	return pids
}

// look takes in what a process has now; nothing when it has ended.
func (p *peaks) look(proc string, pid int) {
	dir := filepath.Join(proc, strconv.Itoa(pid))
	status, err := os.ReadFile(filepath.Join(dir, "status"))
	if err != nil {
		return
	}
	if kib, err := worker.Peak(string(status)); err == nil {
		p.resident = max(p.resident, kib<<10)
	}
	open, err := os.ReadDir(filepath.Join(dir, "fd"))
	if err == nil {
		p.descriptors = max(p.descriptors, len(open))
	}
}
