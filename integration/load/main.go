package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/integration/bench/page"
	"github.com/medic/cht-backup/integration/couchdb/loopback"
)

func main() {
	loopback.Run()
	page.Main("load", parse, run)
}

// run prints what came of it to out and progress to say.
func run(ctx context.Context, o options, args []string, out, say io.Writer) error {
	page.Head(ctx, out, strings.TrimSpace("go run ./integration/load "+strings.Join(args, " ")))
	w := &world{o: o, say: say}
	defer w.end()
	if err := w.begin(ctx); err != nil {
		return err
	}
	began := time.Now()
	samples, first, err := w.hours(ctx)
	file, fileErr := os.Create(o.out)
	if fileErr == nil {
		fileErr = errors.Join(write(file, samples), file.Close())
	}
	passed := len(samples)
	wrong := w.ledger.wrong(w.namespaces(), first, passed)
	if err := errors.Join(err, fileErr); err != nil {
		return fmt.Errorf("%w%s", err, listed(wrong))
	}
	page.Line(out, "passed", "%d hours of %d instances in %s; the leader was killed %d times while backups ran", passed, o.instances, time.Since(began).Round(time.Second), w.started-2)
	wrong = append(wrong, w.missed(ctx)...)
	wrong = append(wrong, grown(samples)...)
	if len(wrong) > 0 {
		return fmt.Errorf("%d things are wrong:%s", len(wrong), listed(wrong))
	}
	again, failed := w.ledger.counted()
	due := o.instances * passed
	page.Line(out, "backups", "%d were due, and one made for each; %d are Completed and Consistent, cut inside a hold of their instance, and in the catalog, %d of them in more than one attempt; %d failed, since the machine took longer to cut than a hold may last", due, due-failed, again, failed)
	page.Line(out, "kept", "at each full hour what the retention keeps, no more and no less; objects of each kind and in the bucket what these account for")
	return nil
}

// listed has the first of what is wrong on lines of their own.
func listed(wrong []string) (text string) {
	for _, w := range wrong[:min(len(wrong), 40)] {
		text += "\n  " + w
	}
	return text
}

// hours has the time pass, and takes a sample at the end of each hour.
func (w *world) hours(ctx context.Context) (samples []sample, first time.Time, err error) {
	first = time.Now().Truncate(time.Hour).Add(time.Hour)
	if err := w.makeSchedules(ctx); err != nil {
		return nil, first, err
	}
	start := time.Now()
	for h := range w.o.hours {
		due := first.Add(time.Duration(h) * time.Hour)
		if w.o.atMost > 0 && time.Since(start) > w.o.atMost {
			return samples, first, nil
		}
		if err := w.clock.set(due.Add(time.Second)); err != nil {
			return samples, first, err
		}
		began := time.Now()
		if err := w.wake(ctx, due); err != nil {
			return samples, first, err
		}
		if err := w.pass(ctx, first, h); err != nil {
			return samples, first, fmt.Errorf("hour %d: %w", h, err)
		}
		s, err := w.look(ctx, h)
		if err != nil {
			return samples, first, fmt.Errorf("hour %d: %w", h, err)
		}
		s.backups = w.ledger.backups()
		samples = append(samples, s)
		// Outside of what lines are fitted to: a profile takes memory.
		if w.o.logs != "" && (h == w.o.hours/2-1 || h == w.o.hours-1) {
			if err := w.profile(ctx, h); err != nil {
				return samples, first, err
			}
		}
		w.holds.Forget()
		select {
		case <-ctx.Done():
			return samples, first, context.Cause(ctx)
		case <-time.After(w.o.pace - time.Since(began)):
		}
		if _, killed := w.o.killed(h); killed || h%6 == 0 {
			w.progress("hour %d after %s: %s leads, heap %.1f MB, %d goroutines, %d watches, %d Backups, %d in the bucket", h, time.Since(began).Round(100*time.Millisecond), s.leader,
				float64(s.memory.Heap)/1e6, s.memory.Goroutines, s.watches, s.objects[0], s.bucket)
		}
	}
	return samples, first, nil
}

// profile writes what the leader has in memory beside its log, for who looks for what
// grew between two hours.
func (w *world) profile(ctx context.Context, h int) error {
	leader, err := w.leader(ctx)
	if err != nil {
		return err
	}
	return leader.profile(ctx, filepath.Join(w.o.logs, fmt.Sprintf("heap-%03d.pprof", h)))
}

// wake has every schedule look at the clock, as its timer would have it.
func (w *world) wake(ctx context.Context, due time.Time) error {
	for _, namespace := range w.namespaces() {
		s := &api.BackupSchedule{}
		s.Namespace, s.Name = namespace, hourly
		patch := fmt.Appendf(nil, `{"metadata":{"annotations":{"cht-backup.test/hour":%q}}}`, due.UTC().Format(time.RFC3339))
		if err := w.client.Patch(ctx, s, client.RawPatch(types.MergePatchType, patch)); err != nil {
			return fmt.Errorf("wake schedule %s/%s: %w", namespace, hourly, err)
		}
	}
	return nil
}

// pass waits until all that is due in an hour is done and what the retention does not keep is gone,
// and has the leader killed meanwhile in some hours.
func (w *world) pass(ctx context.Context, first time.Time, h int) error {
	due := first.Add(time.Duration(h) * time.Hour)
	after, kill := w.o.killed(h)
	ctx, cancel := context.WithTimeoutCause(ctx, w.o.within, errors.New("not done after "+w.o.within.String()))
	defer cancel()
	for {
		done, leaving := w.ledger.ended(due)
		if kill && done >= after && w.begun(due) {
			kill = false
			w.progress("killing the leader: %d of %d backups are done", done, w.o.instances)
			if err := w.replace(ctx); err != nil {
				return err
			}
		}
		if !kill && done == w.o.instances && leaving == 0 && len(w.ledger.unkept(w.namespaces(), first, h+1, w.o.hourly, w.o.daily)) == 0 {
			return nil
		}
		for _, c := range w.controllers {
			select {
			case <-c.Ended:
				return c.died()
			default:
			}
		}
		select {
		case <-ctx.Done():
			unkept := w.ledger.unkept(w.namespaces(), first, h+1, w.o.hourly, w.o.daily)
			return fmt.Errorf("%d of %d backups are done, %d are leaving: %w; %d instances do not keep what they should: %s", done, w.o.instances, leaving, context.Cause(ctx), len(unkept), strings.Join(unkept[:min(len(unkept), 3)], "; "))
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// begun tells whether a backup of an instant is there and has not ended.
func (w *world) begun(due time.Time) bool {
	w.ledger.mu.Lock()
	defer w.ledger.mu.Unlock()
	at := due.UTC().Format(time.RFC3339)
	for _, runs := range w.ledger.runs {
		if e := runs[at]; e != nil && !e.done && e.attempts > 0 {
			return true
		}
	}
	return false
}

// missed says what the schedules missed.
func (w *world) missed(ctx context.Context) (wrong []string) {
	for _, namespace := range w.namespaces() {
		s := &api.BackupSchedule{}
		if err := w.client.Get(ctx, client.ObjectKey{Namespace: namespace, Name: hourly}, s); err != nil {
			wrong = append(wrong, err.Error())
		} else if s.Status.MissedRuns != 0 {
			wrong = append(wrong, fmt.Sprintf("%s has missed %d runs", namespace, s.Status.MissedRuns))
		}
	}
	return wrong
}

// grown says what there is more or less of than the backups that are kept account for,
// once all that is made only once is there.
func grown(samples []sample) (wrong []string) {
	if len(samples) == 0 {
		return []string{"no hour has passed"}
	}
	from := min(24, len(samples)/3)
	of := func(s sample, what string, n uint64) int64 { return int64(n) - perBackup[what]*int64(s.backups) } //nolint:gosec // numbers of objects
	was := samples[from].counts()
	for _, s := range samples[from+1:] {
		for what, n := range s.counts() {
			if is, before := of(s, what, n), of(samples[from], what, was[what]); is != before {
				wrong = append(wrong, fmt.Sprintf("hour %d: %d %s for %d backups: %d more than they account for, in hour %d %d", s.hour, n, what, s.backups, is, samples[from].hour, before))
			}
		}
	}
	slices.Sort(wrong)
	return wrong
}
