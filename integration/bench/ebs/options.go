package main

import (
	"errors"
	"flag"
	"fmt"
	"time"

	"github.com/medic/cht-backup/integration/bench/ebs/nights"
)

// options are the flags.
type options struct {
	runs   int
	nodes  int
	least  time.Duration
	most   time.Duration
	nights nights.Options
	growth bool
}

func parse(args []string) (options, error) {
	o := options{nights: nights.Default()}
	flags := flag.NewFlagSet("ebs", flag.ContinueOnError)
	flags.IntVar(&o.runs, "runs", 20, "cuts of each kind; 0 for none")
	flags.IntVar(&o.nodes, "nodes", 3, "volumes that are cut")
	flags.DurationVar(&o.least, "least", 300*time.Millisecond, "what CreateSnapshot takes at least")
	flags.DurationVar(&o.most, "most", 2*time.Second, "what CreateSnapshot takes at most")
	flags.IntVar(&o.nights.Nights, "nights", o.nights.Nights, "nights to play; 0 for none")
	flags.IntVar(&o.nights.Instances, "instances", o.nights.Instances, "instances, each of three volumes")
	flags.IntVar(&o.nights.Keep, "keep", o.nights.Keep, "backups kept of each instance")
	flags.IntVar(&o.nights.Others, "others", o.nights.Others, "other snapshots in the account")
	flags.IntVar(&o.nights.Driver, "per-driver", o.nights.Driver, "as the controller's --parallel-backups-per-driver")
	flags.DurationVar(&o.nights.Window, "window", o.nights.Window, "time for all backups of a night")
	flags.BoolVar(&o.growth, "growth", true, "also play two nights of 20 instances with 1,000, 10,000 and 100,000 snapshots in the account")
	flags.Uint64Var(&o.nights.Seed, "seed", o.nights.Seed, "makes the same delays again")
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	switch {
	case flags.NArg() > 0:
		return o, fmt.Errorf("unexpected argument %q", flags.Arg(0))
	case o.nodes < 2 || o.nodes > 20:
		return o, fmt.Errorf("--nodes %d is not a number from 2 to 20", o.nodes)
	case o.runs < 0 || o.runs > 1000:
		return o, fmt.Errorf("--runs %d is not a number from 0 to 1000", o.runs)
	case o.least < 0 || o.most < o.least:
		return o, errors.New("--most must not be less than --least")
	case o.nights.Nights < 0 || o.nights.Instances < 1 || o.nights.Keep < 1 || o.nights.Others < 0 || o.nights.Driver < 1:
		return o, errors.New("--nights, --instances, --keep, --others and --per-driver count things")
	}
	return o, nil
}
