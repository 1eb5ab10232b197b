package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime/debug"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/medic/cht-backup/integration/bench/engine"
	"github.com/medic/cht-backup/integration/bench/worker"
	"github.com/medic/cht-backup/snapshot/file/node"
)

// role in the environment makes the program a worker.
const role = "BENCH_COPY_WORKER"

// memoryLimit is what the runtime aims to stay below. The product has 96 MiB for what runs
// beside CouchDB, and bounds what the controller holds of packs.
const memoryLimit = 128 << 20

// order is what a worker is told.
type order struct {
	From, To, Back       string
	Compressed, Unsealed bool
}

// answer is what one turn of one way took.
type answer struct {
	Took     time.Duration
	CPU      time.Duration
	Sent     int64
	PeakKB   int64
	Restored time.Duration // with Back
}

// child does the work of an order in a process of its own.
func child(ctx context.Context, o order, say io.Writer) (a answer, err error) {
	if err := worker.Run(ctx, role, o, &a, say); err != nil {
		return a, fmt.Errorf("%+v: %w", o, err)
	}
	return a, nil
}

// work is what the child runs.
func work(ctx context.Context, in io.Reader, out, _ io.Writer) error {
	var o order
	if err := json.NewDecoder(in).Decode(&o); err != nil {
		return err
	}
	// As much as the product gives its two processes that do this.
	debug.SetMemoryLimit(memoryLimit)
	options := engine.Options{Unsealed: o.Unsealed, Compressed: node.CompressionOff}
	if o.Compressed {
		options.Compressed = node.CompressionOn
	}
	r, err := engine.Create(ctx, o.To, options)
	if err != nil {
		return err
	}
	began := time.Now()
	cost, err := r.Backup(ctx, []string{o.From})
	if err != nil {
		return err
	}
	a := answer{Took: time.Since(began), CPU: cpu(), Sent: cost.Sent}
	if o.Back != "" {
		if a.Restored, err = r.Restore(ctx, o.Back); err != nil {
			return err
		}
	}
	if a.PeakKB, err = worker.OwnPeak(); err != nil {
		return err
	}
	if err := r.Close(); err != nil {
		return err
	}
	return json.NewEncoder(out).Encode(a)
}

// cpu is what this process used of the processors.
func cpu() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// plain is cp, with a sync of the file system after it where wanted.
func plain(ctx context.Context, from, to string, sync bool) (a answer, err error) {
	began := time.Now()
	cmd := exec.CommandContext(ctx, "cp", "-r", from, to)
	if out, err := cmd.CombinedOutput(); err != nil {
		return a, fmt.Errorf("cp -r %s %s: %w: %s", from, to, err, out)
	}
	a.CPU = cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
	if sync {
		if err := syncAt(to); err != nil {
			return a, err
		}
	}
	a.Took = time.Since(began)
	return a, nil
}

// syncAt has all of a directory's file system on the disk.
func syncAt(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer func() { _ = d.Close() }()
	if err := unix.Syncfs(int(d.Fd())); err != nil {
		return fmt.Errorf("sync the file system of %s: %w", dir, err)
	}
	return nil
}
