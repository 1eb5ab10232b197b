package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/medic/cht-backup/integration/harness"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, unix.SIGTERM)
	defer stop()
	if err := command(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "crash:", err)
		os.Exit(1)
	}
}

// options are the flags.
type options struct {
	seed    uint64
	n       int
	only    int
	op      string
	workers int
	node    bool
	record  bool
	binary  string
	within  time.Duration
}

func parse(args []string) (options, error) {
	var o options
	f := flag.NewFlagSet("crash", flag.ContinueOnError)
	f.Uint64Var(&o.seed, "seed", 0, "what the trials are drawn by; 0 for another each time")
	f.IntVar(&o.n, "n", 30, "how many trials")
	f.IntVar(&o.only, "only", 0, "of these, the `i`-th alone")
	f.StringVar(&o.op, "op", "", "points of these operations alone, separated by commas: "+strings.Join(operations, " "))
	f.IntVar(&o.workers, "workers", 3, "trials at a time, each on an instance of its own")
	f.BoolVar(&o.node, "node", true, "let the node's kubelet, CSI driver and API server die too; these hit all trials that run at that time")
	f.BoolVar(&o.record, "record", false, "break nothing, and write "+pointsFile)
	f.StringVar(&o.binary, "controller", "", "this binary of the product instead of one built from the source, to see a broken one caught")
	f.DurationVar(&o.within, "within", 0, "begin no more trials after so long; 0 for no bound")
	if err := f.Parse(args); err != nil {
		return o, err
	}
	if f.NArg() > 0 || o.n < 1 || o.workers < 1 {
		return o, fmt.Errorf("--n and --workers must be at least 1, and there are no arguments: %v", f.Args())
	}
	for o.seed == 0 {
		o.seed = rand.Uint64N(1_000_000) //nolint:gosec // only to differ
	}
	return o, nil
}

// trials of the options.
func (o options) trials() ([]trial, error) {
	if o.record {
		var all []trial
		for i, op := range operations {
			all = append(all, trial{n: i + 1, op: op})
		}
		return all, nil
	}
	points, err := parsePoints(pointsText)
	if err != nil {
		return nil, err
	}
	if o.op != "" {
		points = slices.DeleteFunc(points, func(p point) bool { return !slices.Contains(strings.Split(o.op, ","), p.op) })
	}
	if len(points) == 0 {
		return nil, fmt.Errorf("no crash points of %q in %s", o.op, pointsFile)
	}
	all := draw(o.seed, o.n, points, o.node)
	if o.only > 0 {
		return slices.DeleteFunc(all, func(t trial) bool { return t.n != o.only }), nil
	}
	return all, nil
}

func command(ctx context.Context, args []string) error {
	o, err := parse(args)
	if err != nil {
		return err
	}
	trials, err := o.trials()
	if err != nil {
		return err
	}
	fmt.Printf("seed %d, %d trials; repeat by: make crash SEED=%d N=%d\n", o.seed, len(trials), o.seed, o.n)
	c, err := harness.Start(ctx, os.Stderr, true)
	if err != nil {
		return err
	}
	c.Log = nil
	if !c.Local {
		return errors.New("this kills what only the testbed lets it kill: unset E2E_KUBECONFIG")
	}
	if err := c.InstallCRDs(ctx); err != nil {
		return err
	}
	resume, err := pauseInstalled(ctx, c)
	if err != nil {
		return err
	}
	defer resume()
	if err := sweep(ctx, c); err != nil {
		return err
	}
	disarm, err := guard(ctx, c)
	if err != nil {
		return err
	}
	defer disarm()
	dir, err := os.MkdirTemp("", "crash-*")
	if err != nil {
		return err
	}
	root, err := build(ctx, dir, o.binary)
	if err != nil {
		return err
	}
	all := runAll(ctx, o, trials, func(i int) *world {
		return &world{c: c, root: root, dir: filepath.Join(dir, fmt.Sprint("w", i)), name: fmt.Sprintf("crash-%d-%d", os.Getpid()%10000, i)}
	})
	err = errors.Join(report(o, all), sweep(context.WithoutCancel(ctx), c))
	if err == nil {
		err = os.RemoveAll(dir)
	} else {
		fmt.Println("the controllers' logs are in", dir)
	}
	return err
}

// build puts the controller's binary where the worlds find it.
func build(ctx context.Context, dir, given string) (root string, err error) {
	mod, err := exec.CommandContext(ctx, "go", "env", "GOMOD").Output()
	if err != nil {
		return "", fmt.Errorf("find the source: %w", err)
	}
	root = filepath.Dir(strings.TrimSpace(string(mod)))
	if given != "" {
		return root, os.Symlink(given, filepath.Join(dir, "cht-backup"))
	}
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-o", filepath.Join(dir, "cht-backup"), "./cmd/cht-backup") //nolint:gosec // a directory of ours
	cmd.Dir, cmd.Env = root, append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build the controller: %w\n%s", err, out)
	}
	return root, nil
}

// runAll has the workers take trials until there are none. An instance in which a promise
// was broken is replaced.
func runAll(ctx context.Context, o options, trials []trial, next func(int) *world) (all []outcome) {
	var mu sync.Mutex
	var wg sync.WaitGroup
	queue := make(chan trial, len(trials))
	for _, t := range trials {
		queue <- t
	}
	close(queue)
	begun, worlds, busy := time.Now(), 0, make(chan struct{}, 1)
	fresh := func() (*world, error) {
		mu.Lock()
		worlds++
		w := next(worlds)
		mu.Unlock()
		w.busy = busy
		if err := os.MkdirAll(w.dir, 0o700); err != nil {
			return nil, err
		}
		return w, w.begin(ctx)
	}
	for range min(o.workers, len(trials)) {
		wg.Go(func() {
			var w *world
			for t := range queue {
				if ctx.Err() != nil || o.within > 0 && time.Since(begun) > o.within {
					break
				}
				out := outcome{trial: t}
				if w == nil {
					if w, out.err = fresh(); out.err != nil {
						out.how = "no instance"
					}
				}
				if out.err == nil {
					w.try(ctx, &out)
				}
				mu.Lock()
				all = append(all, out)
				fmt.Println(out.line())
				mu.Unlock()
				if out.err != nil {
					if w != nil {
						_ = w.close() // it has said enough
					}
					w = nil
				}
			}
			if w != nil {
				if err := w.end(context.WithoutCancel(ctx)); err != nil {
					mu.Lock()
					all = append(all, outcome{how: "clean-up", err: err})
					mu.Unlock()
				}
			}
		})
	}
	wg.Wait()
	return all
}

// try runs a trial.
func (w *world) try(ctx context.Context, out *outcome) {
	start := time.Now()
	beside := w.beside(out.trial)
	if beside != "" {
		if out.err = w.makeNamespace(ctx, beside); out.err != nil {
			return
		}
	}
	out.how, out.err = w.operate(ctx, out.trial)
	out.struck = w.script.end()
	for _, name := range w.script.order {
		out.points = append(out.points, point{out.op, name, w.script.seen[name]})
	}
	out.took = time.Since(start)
}
