package nights

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/medic/cht-backup/integration/bench/page"
	fake "github.com/medic/cht-backup/integration/ec2"
)

// Run plays nights and prints what each took. It fails if a backup is missing, late or
// not whole, or if what expired is still there. It tells how many cuts were throttled.
func Run(ctx context.Context, o Options, out io.Writer) (throttled int, err error) {
	w, err := newWorld(ctx, o)
	if err != nil {
		return 0, err
	}
	page.Line(out, "instances", "%d of %d volumes, %d nights, %d backups kept of each", o.Instances, perInstance, o.Nights, max(1, o.Keep))
	page.Line(out, "account", "%d snapshots before the first night", len(w.cloud.Snapshots("", "")))
	for _, line := range o.Fits(fake.Published()) {
		page.Line(out, "quotas", "%s", line)
	}
	// A row as soon as there is one: a night takes half a minute.
	row := func(cells ...string) {
		_, _ = fmt.Fprintf(out, "%5s  %9s  %10s  %12s  %9s  %6s  %12s  %7s  %11s  %9s\n", anySlice(cells)...)
	}
	row("night", "good", "last after", "median after", "throttled", "failed", "calls/backup", "refused", "CPU ms/call", "snapshots")
	var errs []error
	for night := range o.Nights {
		began, due := busy(), time.Now()
		results := w.play(ctx, night)
		calls, refused := w.calls()
		took := busy() - began
		w.cloud.ForgetCalls()
		s := sum(results)
		row(fmt.Sprint(night+1), fmt.Sprintf("%d/%d", s.good, len(results)), s.last.Round(time.Second).String(), s.median.Round(time.Second).String(), fmt.Sprint(s.throttled), fmt.Sprint(s.failed),
			fmt.Sprintf("%.1f", float64(calls)/float64(len(results))), fmt.Sprint(refused), fmt.Sprintf("%.3f", took.Seconds()*1000/float64(calls)), fmt.Sprint(len(w.cloud.Snapshots("", ""))))
		throttled += s.throttled
		errs = append(errs, w.judge(night, results, s))
		time.Sleep(24*time.Hour - time.Since(due)%(24*time.Hour))
	}
	return throttled, errors.Join(errs...)
}

func anySlice(cells []string) (all []any) {
	for _, c := range cells {
		all = append(all, c)
	}
	return all
}

// busy is this process's time on the processors, which is not played.
func busy() time.Duration {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_PROCESS_CPUTIME_ID, &t); err != nil {
		panic(err) // Linux has it
	}
	return time.Duration(t.Nano())
}

// calls counts a night's.
func (w *world) calls() (all, refused int) {
	for k, n := range w.cloud.Counts() {
		all += n
		if k.Code != "" && k.Code != "DryRunOperation" && k.Code != "no answer" {
			refused += n
		}
	}
	return all, refused
}

// summary of a night.
type summary struct {
	good, throttled, failed int
	last, median            time.Duration
}

func sum(results []*result) (s summary) {
	var took []time.Duration
	for _, r := range results {
		if r.err == nil {
			s.good++
			took = append(took, r.took)
		}
		s.throttled += r.throttled
		s.failed += r.failed
	}
	slices.Sort(took)
	if len(took) > 0 {
		s.last, s.median = took[len(took)-1], took[len(took)/2]
	}
	return s
}

// judge says what a night lacks.
func (w *world) judge(night int, results []*result, s summary) error {
	var lacks []string
	for _, r := range results {
		if r.err != nil && len(lacks) < 5 {
			lacks = append(lacks, fmt.Sprintf("%s: %s", r.instance.namespace, r.err))
		}
	}
	if s.last > w.o.Window {
		lacks = append(lacks, fmt.Sprintf("the last backup was done %s after it was due, the window is %s", s.last.Round(time.Second), w.o.Window))
	}
	have := map[string]int{}
	for _, snapshot := range w.cloud.Snapshots("", "") {
		if snapshot.State == fake.Completed && snapshot.Tags["communityhealthtoolkit.org/complete"] == "true" {
			have[snapshot.Tags["communityhealthtoolkit.org/backup-uid"]]++
		} else if snapshot.Tags["team"] != "others" {
			lacks = append(lacks, fmt.Sprintf("%s is left, %s, of %s", snapshot.ID, snapshot.State, snapshot.Description))
		}
	}
	kept := 0
	for _, n := range w.instances {
		for _, b := range n.backups {
			kept++
			if have[string(b.UID)] != perInstance {
				lacks = append(lacks, fmt.Sprintf("%s/%s has %d complete snapshots of %d", b.Namespace, b.Name, have[string(b.UID)], perInstance))
			}
		}
	}
	if len(have) != kept {
		lacks = append(lacks, fmt.Sprintf("%d sets are there, %d backups are kept", len(have), kept))
	}
	if len(lacks) == 0 {
		return nil
	}
	return fmt.Errorf("night %d: %s", night+1, strings.Join(lacks[:min(len(lacks), 8)], "\n"))
}
