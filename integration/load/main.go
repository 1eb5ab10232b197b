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
	if err := errors.Join(err, fileErr); err != nil {
		return err
	}
	page.Line(out, "took", "%s for %d hours of %d instances; the leader was killed %d times while backups ran", time.Since(began).Round(time.Second), o.hours, o.instances, o.kills)
	wrong := w.ledger.wrong(w.namespaces(), first, o.hours)
	wrong = append(wrong, w.missed(ctx)...)
	wrong = append(wrong, grown(samples, o)...)
	if len(wrong) > 0 {
		return fmt.Errorf("%d things are wrong:\n  %s", len(wrong), strings.Join(wrong[:min(len(wrong), 40)], "\n  "))
	}
	page.Line(out, "backups", "%d were due, and %d made: one each, all Completed, Consistent, cut inside a hold of their instance, and in the catalog; %d took more than one attempt", o.instances*o.hours, o.instances*o.hours, w.ledger.again())
	page.Line(out, "kept", "what the retention keeps, no more and no less; objects of each kind and in the bucket as many as at the same hour of the day before")
	return nil
}

// hours has the time pass, and takes a sample at the end of each hour.
func (w *world) hours(ctx context.Context) (samples []sample, first time.Time, err error) {
	first = time.Now().Truncate(time.Hour).Add(time.Hour)
	if err := w.makeSchedules(ctx); err != nil {
		return nil, first, err
	}
	for h := range w.o.hours {
		due := first.Add(time.Duration(h) * time.Hour)
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
		samples = append(samples, s)
		if w.o.logs != "" && (h == w.o.hours/2 || h == w.o.hours-1) {
			if err := w.profile(ctx, h); err != nil {
				return samples, first, err
			}
		}
		w.holds.Forget()
		if _, killed := w.o.killed(h); killed || h%6 == 0 {
			w.progress("hour %d in %s: %s leads, heap %.1f MB, %d goroutines, %d watches, %d Backups, %d in the bucket", h, time.Since(began).Round(100*time.Millisecond), s.leader,
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
		if !kill && done == w.o.instances && leaving == 0 && len(w.unkept(first, h+1)) == 0 {
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
			return fmt.Errorf("%d of %d backups are done, %d are leaving: %w %s", done, w.o.instances, leaving, context.Cause(ctx), strings.Join(w.unkept(first, h+1), "; "))
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

// unkept says where not that is there which the retention keeps after so many hours.
func (w *world) unkept(first time.Time, hours int) (wrong []string) {
	want := keeps(first, hours, w.o.hourly, w.o.daily)
	for _, namespace := range w.namespaces() {
		if got := w.ledger.kept(namespace); !slices.Equal(got, want) {
			wrong = append(wrong, fmt.Sprintf("%s keeps %v, not %v", namespace, got, want))
		}
	}
	return wrong
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

// grown says what there is more or less of than at the same hour of the day before, once
// the retention has its fill.
func grown(samples []sample, o options) (wrong []string) {
	for h := (o.daily + 1) * 24; h < len(samples); h++ {
		was := samples[h-24].counts()
		for what, n := range samples[h].counts() {
			if n != was[what] {
				wrong = append(wrong, fmt.Sprintf("hour %d: %d of %s, a day before %d", samples[h].hour, n, what, was[what]))
			}
		}
	}
	slices.Sort(wrong)
	return wrong
}
