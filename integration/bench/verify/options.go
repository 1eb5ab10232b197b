package main

import (
	"flag"
	"fmt"
	"time"
)

// nodes of the cluster, where it is started here.
const nodes = 3

// options are the flags.
type options struct {
	documents, small int
	dir              string
	stuck            time.Duration
}

func parse(args []string) (options, error) {
	var o options
	flags := flag.NewFlagSet("verify", flag.ContinueOnError)
	flags.IntVar(&o.documents, "documents", 1_000_000, "documents in all databases together")
	flags.IntVar(&o.small, "small", 100_000, "how many of them are there when it is first measured")
	flags.StringVar(&o.dir, "dir", "", "folder for the nodes' volumes; default: a temporary one")
	flags.DurationVar(&o.stuck, "stuck", 5*time.Minute, "how long CouchDB may bring nothing")
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	switch {
	case flags.NArg() > 0:
		return o, fmt.Errorf("unexpected argument %q", flags.Arg(0))
	case o.small < 1000:
		return o, fmt.Errorf("--small %d: at least 1000, for each database to have some", o.small)
	case o.documents <= o.small:
		return o, fmt.Errorf("--documents %d is not more than --small %d: there is nothing to compare", o.documents, o.small)
	}
	return o, nil
}
