package main

import (
	"flag"
	"fmt"
	"time"
)

// most instances there may be: each has an address of its own.
const most = 200

// options are the flags.
type options struct {
	instances, hours, kills int
	hourly, daily           int
	parallel                int
	within, atMost, pace    time.Duration
	out, logs               string
}

func parse(args []string) (options, error) {
	var o options
	flags := flag.NewFlagSet("load", flag.ContinueOnError)
	flags.IntVar(&o.instances, "instances", 20, "how many instances are backed up every hour")
	flags.IntVar(&o.hours, "hours", 7*24, "how many hours pass")
	flags.IntVar(&o.kills, "kills", 6, "how often the leader is killed while backups run, within the first seventh: later its memory is looked at")
	flags.IntVar(&o.hourly, "keep-hourly", 6, "the retention's")
	flags.IntVar(&o.daily, "keep-daily", 2, "the retention's; after as many days nothing grows")
	flags.IntVar(&o.parallel, "parallel", 4, "the controllers' parallel-backups")
	flags.DurationVar(&o.within, "within", 4*time.Minute, "bound on what is due in one hour, by the machine's clock")
	flags.DurationVar(&o.pace, "pace", 12*time.Second, "how long an hour takes at least, by the machine's clock. The client of Kubernetes' events remembers each for 6 to 12 minutes: with 12s it has forgotten as many as it learns before the last half begins, and after the last leader began")
	flags.DurationVar(&o.atMost, "at-most", 0, "end after the hour that is passing then, by the machine's clock, and judge those that have passed; 0 for no bound")
	flags.StringVar(&o.out, "out", "load.csv", "where the table goes")
	flags.StringVar(&o.logs, "logs", "", "existing folder for the controllers' logs and two profiles of the leader's heap; none are kept by default")
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	if flags.NArg() > 0 {
		return o, fmt.Errorf("unexpected argument %q", flags.Arg(0))
	}
	if o.instances < 1 || o.instances > most || o.hours < 2 || o.hourly < 1 || o.daily < 1 || o.kills < 0 || o.parallel < 1 || o.pace < 0 || o.atMost < 0 || o.within <= 0 {
		return o, fmt.Errorf("--instances must be 1 to %d, --hours at least 2, --keep-hourly, --keep-daily, --parallel and --within more than 0, --kills, --pace and --at-most not less", most)
	}
	if o.kills > 0 && o.quietFrom() > o.hours/2 {
		return o, fmt.Errorf("--kills %d need %d hours, and the last half is without", o.kills, o.quietFrom())
	}
	return o, nil
}

// quietFrom is the hour from which on nothing is killed.
func (o options) quietFrom() int { return max(o.hours/7, 3*o.kills) }

// killed tells whether the leader is killed in an hour, and after how many of the
// backups that are due then have ended: each time at another point.
func (o options) killed(hour int) (after int, yes bool) {
	for k := range o.kills {
		if hour == 2+k*(o.quietFrom()-2)/o.kills {
			return k * o.instances / o.kills, true
		}
	}
	return 0, false
}
