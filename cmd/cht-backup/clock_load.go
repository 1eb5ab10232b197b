//go:build loadclock

package main

// What the load test builds in, and no image has: a clock that it can set, and a look at
// this process's memory once all garbage is gone.

import (
	"encoding/binary"
	"encoding/json"
	"net"
	"net/http"
	"net/http/pprof"
	"os"
	"runtime"
	"runtime/debug"
	"time"
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

func init() {
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
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		_ = json.NewEncoder(w).Encode(map[string]uint64{"heap": m.HeapAlloc, "spans": m.HeapInuse, "stacks": m.StackInuse, "runtime": m.MSpanSys + m.MCacheSys + m.GCSys + m.OtherSys, "profiler": m.BuckHashSys,
			"objects": m.HeapObjects, "goroutines": uint64(runtime.NumGoroutine())})
	})
	go func() { _ = (&http.Server{Handler: mux, ReadHeaderTimeout: time.Minute}).Serve(l) }()
}
