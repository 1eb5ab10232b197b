// Command demo shows the product at work: it sets up a CHT on a real Kubernetes,
// backs it up while somebody writes to it, destroys it, restores it elsewhere and
// judges the copy by what the writer was told. In: a cluster, as the harness gives
// it. Out: a report for people, and exit code 1 when anything was lost. It never
// takes the product's word for it: the judgement rests on the writer's own log.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	stdlog "log"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/klog/v2"
	"sigs.k8s.io/controller-runtime/pkg/log"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/integration/harness"
)

type config struct {
	nodes, docs, users int
	rate               float64
	before, after      time.Duration
	quiesce            string
	clone, keep        bool
	runs               int
}

func flags(args []string) (config, error) {
	var c config
	var before, after float64
	f := flag.NewFlagSet("demo", flag.ContinueOnError)
	f.IntVar(&c.nodes, "nodes", 3, "CouchDB nodes")
	f.IntVar(&c.docs, "docs", 3000, "documents in the database medic")
	f.IntVar(&c.users, "users", 40, "users, each with a database")
	f.Float64Var(&c.rate, "rate", 40, "writes a second")
	f.Float64Var(&before, "seconds-before", 6, "how long to write before the backup is asked for")
	f.Float64Var(&after, "seconds-after", 4, "how long to write after it is complete")
	f.StringVar(&c.quiesce, "quiesce", string(api.QuiesceAuto), "how writes are held back: Auto, Freeze, Pause or None")
	f.BoolVar(&c.clone, "clone", false, "restore beside the running source instead of destroying it")
	f.BoolVar(&c.keep, "keep", false, "leave namespaces, backup and snapshots for a look")
	f.IntVar(&c.runs, "runs", 1, "how often to do it all")
	if err := f.Parse(args); err != nil {
		return c, err
	}
	c.before, c.after = seconds(before), seconds(after)
	switch {
	case f.NArg() > 0:
		return c, fmt.Errorf("unexpected argument %q", f.Arg(0))
	case c.nodes < 1 || c.docs < 1 || c.users < 1 || c.runs < 1:
		return c, fmt.Errorf("--nodes, --docs, --users and --runs must be at least 1")
	case c.rate <= 0 || before <= 0 || after <= 0:
		return c, fmt.Errorf("--rate, --seconds-before and --seconds-after must be above 0: without writes on both sides of the cut nothing is proven")
	}
	return c, nil
}

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }

func main() {
	cfg, err := flags(os.Args[1:])
	if err != nil {
		if err != flag.ErrHelp { //nolint:errorlint // flag returns it as it is
			fmt.Fprintln(os.Stderr, "demo:", err)
		}
		os.Exit(2)
	}
	// The client libraries' own remarks would stand in the middle of the report; what
	// matters comes as an error.
	klog.SetLogger(logr.Discard())
	stdlog.SetOutput(io.Discard)
	log.SetLogger(logr.Discard())
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	// A second Ctrl-C ends also the clean-up.
	context.AfterFunc(ctx, stop)
	s := newScreen(os.Stdout)
	good, err := demo(ctx, s, cfg)
	if err != nil {
		s.bad("%v", err)
	}
	stop()
	if err != nil || !good {
		os.Exit(1)
	}
}

// demo tells whether all runs were good. An error means that there was no run.
func demo(ctx context.Context, s *screen, cfg config) (bool, error) {
	s.title("cht-backup: a CHT is backed up under load, lost, and brought back")
	s.head("The stage", "A real Kubernetes. A first start takes minutes, later ones seconds.")
	start := time.Now()
	c, err := harness.Start(ctx, s.indented(), true)
	if err != nil {
		return false, err
	}
	c.Log = nil // from here on the report tells
	// One that the tests have left serves what nobody else does. It must be of this tree.
	if _, err := c.ControllerPod(ctx); err == nil {
		if err := c.InstallController(ctx); err != nil {
			return false, fmt.Errorf("renew the controller in %s: %w", harness.ControllerNamespace, err)
		}
	}
	kubectl, remove, err := buildPlugin(ctx, s, c.Kubeconfig)
	if err != nil {
		return false, err
	}
	defer remove()
	s.good("Kubernetes runs, images and the kubectl plugin are built%s", took(start))
	s.line("to look around meanwhile: export KUBECONFIG=%s", c.Kubeconfig)

	var results []result
	good := true
	for n := 1; n <= cfg.runs && ctx.Err() == nil; n++ {
		if cfg.runs > 1 {
			s.title(fmt.Sprintf("run %d of %d", n, cfg.runs))
		}
		r := newRun(c, s, kubectl, cfg)
		res := r.do(ctx)
		results = append(results, res)
		good = good && res.good()
	}
	if cfg.runs > 1 {
		s.head("All runs", "")
		for _, line := range table(results) {
			s.line("%s", line)
		}
	}
	return good && len(results) == cfg.runs, nil
}

// table has one line for each run.
func table(results []result) []string {
	const row = "%-4s %-8s %8s %10s %8s %8s %6s %8s %8s %11s %9s  %s"
	lines := []string{strings.TrimRight(fmt.Sprintf(row, "run", "mode", "stall", "documents", "before", "after", "lost", "too new", "failed", "safe copy", "restore", ""), " ")}
	for i, r := range results {
		verdict := "good"
		if !r.good() {
			verdict = "FAILED: " + firstLine(r.why())
		}
		lines = append(lines, fmt.Sprintf(row, fmt.Sprint(i+1), orDash(string(r.mode)), milliseconds(r.stall), count(r.documents), count(r.before), count(r.after),
			count(r.lost), count(r.future), count(r.failed), short(r.safe), short(r.restored), verdict))
	}
	return lines
}
