package main

import (
	"flag"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// most instances there may be: each has an address of its own.
const most = 2000

// options are the flags.
type options struct {
	instances           []int
	cut, ready          time.Duration
	parallel, perDriver int
	requests            float64
	within              time.Duration
	calls               bool
}

func parse(args []string) (options, error) {
	var o options
	flags := flag.NewFlagSet("fleet", flag.ContinueOnError)
	instances := flags.String("instances", "50,200,500", "how many instances are due at once, in turn")
	flags.DurationVar(&o.cut, "cut", 300*time.Millisecond, "how long the driver takes to cut")
	flags.DurationVar(&o.ready, "ready", 3*time.Second, "how long it copies until a snapshot is ready")
	flags.IntVar(&o.parallel, "parallel", 8, "the controller's parallel-backups")
	flags.IntVar(&o.perDriver, "per-driver", 24, "its parallel-backups-per-driver")
	flags.Float64Var(&o.requests, "requests-per-second", 50, "its requests-per-second")
	flags.DurationVar(&o.within, "within", 20*time.Minute, "bound on the backups of one number of instances")
	flags.BoolVar(&o.calls, "calls", false, "list the calls by resource: they go through this program, which costs the controller less CPU than TLS does")
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	if flags.NArg() > 0 {
		return o, fmt.Errorf("unexpected argument %q", flags.Arg(0))
	}
	for text := range strings.SplitSeq(*instances, ",") {
		n, err := strconv.Atoi(strings.TrimSpace(text))
		if err != nil || n < 1 || n > most {
			return o, fmt.Errorf("--instances %q: numbers from 1 to %d, separated by commas", *instances, most)
		}
		o.instances = append(o.instances, n)
	}
	if o.parallel < 1 || o.perDriver < 1 || o.requests <= 0 || o.cut < 0 || o.ready < 0 || o.within <= 0 {
		return o, fmt.Errorf("--parallel, --per-driver, --requests-per-second and --within must be more than 0, --cut and --ready not less")
	}
	return o, nil
}

func (o options) largest() int { return slices.Max(o.instances) }
