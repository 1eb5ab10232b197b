package main

import (
	"errors"
	"flag"
	"fmt"
)

// nodes of the cluster; q=12 shards of each database go around them.
const nodes = 3

// options are the flags.
type options struct {
	databases, known int
	dir              string
}

func parse(args []string) (options, error) {
	var o options
	flags := flag.NewFlagSet("rename", flag.ContinueOnError)
	flags.IntVar(&o.databases, "databases", 2000, "databases that the product renames")
	flags.IntVar(&o.known, "known", 100, "further databases, renamed the known way")
	flags.StringVar(&o.dir, "dir", "", "folder for the nodes' volumes; default: a temporary one")
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	switch {
	case flags.NArg() > 0:
		return o, fmt.Errorf("unexpected argument %q", flags.Arg(0))
	case o.databases < 1 || o.databases > 99999:
		return o, fmt.Errorf("--databases %d is not a number from 1 to 99999", o.databases)
	case o.known < 2:
		return o, errors.New("--known: at least 2, for half of them go before the product and half after it")
	}
	return o, nil
}
