package main

import (
	"errors"
	"flag"
	"fmt"
	"strconv"
	"strings"
)

// options are the flags.
type options struct {
	sizes  []int64 // in MiB
	rounds int
	dir    string
}

func parse(args []string) (options, error) {
	o, sizes := options{}, ""
	flags := flag.NewFlagSet("copy", flag.ContinueOnError)
	flags.StringVar(&sizes, "sizes", "1024,8192", "comma list of sizes of the data in MiB; twice the largest must be free")
	flags.IntVar(&o.rounds, "rounds", 3, "turns of each way, for the first size; the others have one")
	flags.StringVar(&o.dir, "dir", "", "folder for the data and the repository, on one disk; default: a temporary one")
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	for one := range strings.SplitSeq(sizes, ",") {
		n, err := strconv.ParseInt(one, 10, 64)
		if err != nil || n < 1 || n > 1<<20 {
			return o, fmt.Errorf("--sizes: %q is not a number from 1 to %d", one, 1<<20)
		}
		o.sizes = append(o.sizes, n)
	}
	switch {
	case flags.NArg() > 0:
		return o, fmt.Errorf("unexpected argument %q", flags.Arg(0))
	case o.rounds < 1:
		return o, errors.New("--rounds: at least 1")
	}
	return o, nil
}
