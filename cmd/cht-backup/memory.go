package main

import (
	"fmt"
	"math"
	"os"
	"runtime/debug"
	"strconv"
)

// containerMemory is the environment's word for the container's memory limit, in bytes.
const containerMemory = "CONTAINER_MEMORY"

// stayBelow has the runtime collect earlier as the container's limit comes near, instead
// of being killed at it in the middle of a backup. A GOMEMLIMIT of the user's stays.
func stayBelow() error {
	limit, err := memoryAim(os.Getenv(containerMemory))
	if err != nil {
		return err
	}
	if debug.SetMemoryLimit(-1) == math.MaxInt64 {
		debug.SetMemoryLimit(limit)
	}
	return nil
}

// memoryAim is what the runtime stays below with a container's limit: four fifths of it,
// since the program itself and the kernel's part count too.
func memoryAim(limit string) (int64, error) {
	if limit == "" {
		return math.MaxInt64, nil
	}
	n, err := strconv.ParseInt(limit, 10, 64)
	if err != nil || n < 0 {
		return 0, fmt.Errorf("%s is %.40q; expected the container's memory limit in bytes", containerMemory, limit)
	}
	if n == 0 {
		return math.MaxInt64, nil
	}
	return n / 5 * 4, nil
}
