package nights

import (
	"fmt"
	"time"

	fake "github.com/medic/cht-backup/integration/ec2"
)

// perInstance is how many nodes, and so volumes, an instance has.
const perInstance = 3

// Options of a run.
type Options struct {
	Instances, Nights int
	// Keep is the retention: as many backups of each instance exist from the start, and
	// after each night.
	Keep int
	// Others are further snapshots in the account.
	Others int
	// Cluster and Driver bound the backups, as --parallel-backups and
	// --parallel-backups-per-driver do.
	Cluster, Driver int
	// Window is how long after they are due, all at once, backups may end.
	Window time.Duration
	// Snapshot is how long EC2 takes to complete one, Cut how long CreateSnapshot takes,
	// Call what any other call takes.
	Snapshot, Cut, Call fake.Span
	// Lose is how many answers of CreateSnapshot are lost in each night.
	Lose int
	Seed uint64
}

// Default is what the issue at hand is: 1,000 instances for 30 nights in an account that
// is nearly full, with the controller's own defaults.
func Default() Options {
	return Options{
		Instances: 1000, Nights: 30, Keep: 30, Others: 9500, Cluster: 8, Driver: 24, Window: 8 * time.Hour,
		Snapshot: fake.Between(time.Minute, 10*time.Minute), Cut: fake.Between(300*time.Millisecond, 2*time.Second), Call: fake.Between(50*time.Millisecond, 200*time.Millisecond),
		Lose: 3, Seed: 1,
	}
}

// Existing is how many snapshots the account has before and after each night.
func (o Options) Existing() int { return o.Instances*perInstance*o.Keep + o.Others }

// Fits says what the quotas leave of the window, by arithmetic alone.
func (o Options) Fits(q fake.Quotas) []string {
	calls := o.Instances * perInstance
	// The slowest of n evenly spread ones is this far up the spread, on average.
	slowest := o.Snapshot.Least + (o.Snapshot.Most-o.Snapshot.Least)*perInstance/(perInstance+1)
	atOnce := q.Pending / perInstance
	need := int((time.Duration(o.Instances)*slowest + o.Window - 1) / o.Window)
	lines := []string{
		fmt.Sprintf("%d CreateSnapshot calls a night at EC2's %g a second take %s of a window of %s; as many DeleteSnapshot calls have a bucket of their own", calls, q.Actions["CreateSnapshot"].Refill,
			(time.Duration(float64(calls)/q.Actions["CreateSnapshot"].Refill) * time.Second).Round(time.Second), o.Window),
		fmt.Sprintf("%d snapshots may be pending in an account: %d backups of %d volumes at once", q.Pending, atOnce, perInstance),
		fmt.Sprintf("a backup's slowest snapshot takes %s on average, so %d at once need %s; the window needs --parallel-backups-per-driver %d or more",
			slowest.Round(time.Second), o.Driver, (time.Duration(o.Instances) * slowest / time.Duration(o.Driver)).Round(time.Minute), need),
	}
	switch {
	case need > atOnce:
		lines = append(lines, fmt.Sprintf("it does not fit: more than %d at once exceed what may be pending. Spread the instances over %d accounts or Regions, or widen the window to %s",
			atOnce, (need+atOnce-1)/atOnce, (time.Duration(o.Instances)*slowest/time.Duration(atOnce)).Round(time.Minute)))
	case need > o.Driver:
		lines = append(lines, fmt.Sprintf("it does not fit with %d; it does with --parallel-backups-per-driver %d", o.Driver, need))
	default:
		lines = append(lines, fmt.Sprintf("it fits with --parallel-backups-per-driver %d", o.Driver))
	}
	return lines
}

// Flags are the test's that play the same.
func (o Options) Flags() []string {
	var all []string
	for name, value := range map[string]any{
		"instances": o.Instances, "nights": o.Nights, "keep": o.Keep, "others": o.Others, "per-driver": o.Driver, "window": o.Window, "lose": o.Lose, "seed": o.Seed,
	} {
		all = append(all, fmt.Sprintf("-%s=%v", name, value))
	}
	return all
}
