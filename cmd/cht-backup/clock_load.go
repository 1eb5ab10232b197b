//go:build loadclock

package main

// What the load test builds in, and no image has: a clock that it can set, and a look at
// this process's memory once all garbage is gone. What memory of the program's file a
// process has grows for days, a page whenever a function runs for the first time, up to
// the file's size; so all of it is read at the start.

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/pprof"
	"os"
	"runtime"
	"runtime/debug"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// ahead holds by how many nanoseconds now is ahead of the machine's clock, as
// little-endian 64 bits.
var ahead = func() *os.File {
	f, err := os.Open(os.Getenv("LOAD_CLOCK"))
	if err != nil {
		panic("the load test's controller has no clock: " + err.Error())
	}
	return f
}()

func now() time.Time {
	var by [8]byte
	if _, err := ahead.ReadAt(by[:], 0); err != nil {
		panic("read the load test's clock: " + err.Error())
	}
	return time.Now().Round(0).Add(time.Duration(binary.LittleEndian.Uint64(by[:]))) //nolint:gosec // as it was written
}

// readWhole reads what of the program's file is mapped and only read (proc(5), madvise(2)).
func readWhole() error {
	text, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(text)) {
		fields := strings.Fields(line)
		if fields[len(fields)-1] != self || strings.Contains(fields[1], "w") {
			continue
		}
		var begin, end uintptr
		if _, err := fmt.Sscanf(fields[0], "%x-%x", &begin, &end); err != nil {
			return err
		}
		if _, _, errno := unix.Syscall(unix.SYS_MADVISE, begin, end-begin, unix.MADV_POPULATE_READ); errno != 0 {
			return errno
		}
	}
	return nil
}

func init() {
	if err := readWhole(); err != nil {
		panic("read the program's file: " + err.Error())
	}
	runtime.MemProfileRate = 16 << 10 // what grows is far smaller than what is sampled by default
	l, err := net.Listen("unix", os.Getenv("LOAD_PROBE"))
	if err != nil {
		panic("the load test cannot look at this process: " + err.Error())
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/debug/pprof/", pprof.Index)
	mux.HandleFunc("/memory", func(w http.ResponseWriter, r *http.Request) {
		runtime.GC()
		debug.FreeOSMemory() // the second round takes what finalizers let go
		// At once, before there is new garbage.
		kernel, err := os.ReadFile("/proc/self/status")
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		_ = json.NewEncoder(w).Encode(map[string]any{"heap": m.HeapAlloc, "spans": m.HeapInuse, "stacks": m.StackInuse, "runtime": m.MSpanSys + m.MCacheSys + m.GCSys + m.OtherSys, "profiler": m.BuckHashSys,
			"objects": m.HeapObjects, "goroutines": runtime.NumGoroutine(), "kernel": string(kernel)})
	})
	go func() { _ = (&http.Server{Handler: mux, ReadHeaderTimeout: time.Minute}).Serve(l) }()
}
