package nights

import (
	"flag"
	"io"
	"os"
	"testing"
	"testing/synctest"
)

var (
	whole = flag.Bool("whole", false, "play all of it, for the benchmark: see integration/bench/ebs")
	of    = Default()
)

func init() {
	flag.IntVar(&of.Instances, "instances", of.Instances, "with -whole: instances")
	flag.IntVar(&of.Nights, "nights", of.Nights, "with -whole: nights")
	flag.IntVar(&of.Keep, "keep", of.Keep, "with -whole: backups kept of each instance")
	flag.IntVar(&of.Others, "others", of.Others, "with -whole: other snapshots in the account")
	flag.IntVar(&of.Driver, "per-driver", of.Driver, "with -whole: as --parallel-backups-per-driver")
	flag.DurationVar(&of.Window, "window", of.Window, "with -whole: time for all backups of a night")
	flag.IntVar(&of.Lose, "lose", of.Lose, "with -whole: answers lost in each night")
	flag.Uint64Var(&of.Seed, "seed", of.Seed, "with -whole: seed")
}

// Every backup of every night is good, within its window, and what expired is gone.
func TestNights(t *testing.T) {
	o, out := Default(), io.Discard
	o.Instances, o.Nights, o.Keep, o.Others, o.Lose = 20, 3, 3, 200, 1
	if *whole {
		o, out = of, io.Writer(os.Stdout)
	}
	run(t, o, out)
}

// More backups at once than EC2 lets be pending: the cuts that are refused are taken
// later, and none is lost.
func TestMoreThanMayBePending(t *testing.T) {
	o := Default()
	o.Instances, o.Nights, o.Keep, o.Others, o.Lose, o.Driver = 50, 1, 1, 0, 0, 50
	if throttled := run(t, o, io.Discard); throttled == 0 {
		t.Fatal("nothing was throttled, so nothing was absorbed")
	}
}

// run plays, as nothing of this machine's is.
func run(t *testing.T, o Options, out io.Writer) (throttled int) {
	for name, value := range map[string]string{"AWS_CA_BUNDLE": "", "AWS_PROFILE": "", "AWS_CONFIG_FILE": os.DevNull, "AWS_SHARED_CREDENTIALS_FILE": os.DevNull, "AWS_ENDPOINT_URL": "", "AWS_ENDPOINT_URL_EC2": ""} {
		t.Setenv(name, value)
	}
	synctest.Test(t, func(t *testing.T) {
		var err error
		if throttled, err = Run(t.Context(), o, out); err != nil {
			t.Fatal(err)
		}
	})
	return throttled
}
