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
	nodes, docs int
	percent     float64
	sizes       []int // of chunks, in bytes
	dir         string
}

func parse(args []string) (options, error) {
	var o options
	var sizes string
	flags := flag.NewFlagSet("increment", flag.ContinueOnError)
	flags.IntVar(&o.nodes, "nodes", 3, "CouchDB nodes")
	flags.IntVar(&o.docs, "docs", 60000, "documents in the database before the first backup")
	flags.Float64Var(&o.percent, "percent", 1, "percent of them that are added, or changed, between two backups")
	flags.StringVar(&sizes, "sizes", "16,64,256,1024", "comma list of sizes of chunks in KiB, powers of two")
	flags.StringVar(&o.dir, "dir", "", "folder for the nodes' volumes; default: a temporary one")
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	for one := range strings.SplitSeq(sizes, ",") {
		n, err := strconv.Atoi(one)
		if err != nil || n < 4 || n > 16384 || n&(n-1) != 0 {
			return o, fmt.Errorf("--sizes: %q is not a power of two from 4 to 16384", one)
		}
		o.sizes = append(o.sizes, n<<10)
	}
	switch {
	case flags.NArg() > 0:
		return o, fmt.Errorf("unexpected argument %q", flags.Arg(0))
	case o.nodes < 1 || o.nodes > 8:
		return o, fmt.Errorf("--nodes %d is not a number from 1 to 8", o.nodes)
	case o.docs < 100:
		return o, errors.New("--docs: at least 100")
	case o.percent <= 0 || o.percent > 100:
		return o, fmt.Errorf("--percent %g is not more than 0 and at most 100", o.percent)
	}
	return o, nil
}

// some is how many documents come between two backups.
func (o options) some() int { return max(1, int(float64(o.docs)*o.percent/100)) }
