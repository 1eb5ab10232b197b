package main

import (
	"math"
	"runtime/debug"
	"testing"
)

func TestMemoryAim(t *testing.T) {
	for limit, want := range map[string]int64{"": math.MaxInt64, "0": math.MaxInt64, "268435456": 214748364, "5": 4} {
		if got, err := memoryAim(limit); err != nil || got != want {
			t.Errorf("%q: %d, %v; want %d", limit, got, err, want)
		}
	}
	for _, limit := range []string{"256Mi", "-1", "x", "99999999999999999999"} {
		if got, err := memoryAim(limit); err == nil {
			t.Errorf("%q is taken as %d", limit, got)
		}
	}
}

// The container's limit counts where the user gave none of his own.
func TestStayBelow(t *testing.T) {
	was := debug.SetMemoryLimit(math.MaxInt64)
	defer debug.SetMemoryLimit(was)
	t.Setenv(containerMemory, "1000000000")
	for _, given := range []int64{math.MaxInt64, 700_000_000} {
		debug.SetMemoryLimit(given)
		if err := stayBelow(); err != nil {
			t.Fatal(err)
		}
		if got := debug.SetMemoryLimit(-1); got != min(given, 800_000_000) {
			t.Errorf("with %d of the user's: %d", given, got)
		}
	}
}
