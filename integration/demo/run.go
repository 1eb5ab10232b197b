package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/util/rand"
	"sigs.k8s.io/controller-runtime/pkg/client"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/integration/cht"
	"github.com/medic/cht-backup/integration/cht/couch"
	"github.com/medic/cht-backup/integration/cht/load"
	"github.com/medic/cht-backup/integration/harness"
)

const (
	backupName = "demo"
	backups    = 2                // the first, and this one
	runWithin  = 20 * time.Minute // on a machine that does much else
)

// run is one CHT from its first start to the verdict on its copy.
type run struct {
	c       *harness.Cluster
	s       *screen
	kubectl *plugin
	cfg     config
	// source and target are the CHT before and after.
	source, target cht.Options

	contents contents // of the seeded documents, before the backup
	writer   *harness.Load
	writes   []load.Write
	sum      load.Summary
	b        *api.Backup
	before   *load.Dump // the source after the last write
	packets  *harness.Packets

	lostAt time.Time // when the disaster struck, or the restore beside the source began
	res    result
}

// result is what a run showed.
type result struct {
	mode                   api.Quiesce
	stall, safe, restored  time.Duration
	first                  time.Duration // from the installation until the first good backup
	back                   time.Duration // from the loss until the CHT served again
	documents, databases   int
	before, open, after    int // writes, by when they were sent and answered
	lost, future, failed   int
	medianWait             time.Duration // of the writes outside the stall
	longHeld, longOther    time.Duration // the longest wait in the stall, and outside it
	findings               []finding
	err                    error
	sentinel, ingress, api string
}

func (r result) good() bool { return r.err == nil && len(r.findings) > 0 && r.why() == "" }

// why says what was not as it should be.
func (r result) why() string {
	if r.err != nil {
		return r.err.Error()
	}
	var bad []string
	for _, f := range r.findings {
		if len(f.problems) > 0 {
			bad = append(bad, f.what+": "+f.problems[0])
		}
	}
	return strings.Join(bad, "\n")
}

func newRun(c *harness.Cluster, s *screen, kubectl *plugin, cfg config) *run {
	source := cht.Defaults("cht-demo-"+rand.String(5), c.CHTImages())
	source.Nodes = cfg.nodes
	// A host of its own: two ingresses for one host would be refused.
	source.IngressHost = source.Namespace + ".example.org"
	target := source
	target.Namespace += "-restored"
	return &run{c: c, s: s, kubectl: kubectl, cfg: cfg, source: source, target: target}
}

// do does it all, and leaves nothing behind unless told to.
func (r *run) do(ctx context.Context) result {
	ctx, cancel := context.WithTimeoutCause(ctx, runWithin, errors.New("the run was not done in "+runWithin.String()))
	defer cancel()
	for _, step := range []func(context.Context) error{r.install, r.fill, r.write, r.backUp, r.lose, r.restore, r.judge} {
		if r.res.err = step(ctx); r.res.err != nil {
			r.s.bad("%v", r.res.err)
			break
		}
	}
	r.verdict()
	if err := r.cleanUp(context.WithoutCancel(ctx)); err != nil {
		r.s.bad("clean up: %v", err)
		r.res.err = errors.Join(r.res.err, fmt.Errorf("clean up: %w", err))
	}
	return r.res
}

// couchThrough talks to a CHT's HAProxy as its admin.
func (r *run) couchThrough(o cht.Options) *couch.Client { return r.couchAs(o, o.User, o.Password) }

func (r *run) couchAs(o cht.Options, user, password string) *couch.Client {
	return couch.New("http://haproxy."+o.Namespace+".svc.cluster.local:5984", user, password, r.c.Transport())
}

// fill puts documents and users into the CHT.
func (r *run) fill(ctx context.Context) error {
	r.s.numbered("It is filled", "Documents and users, as a programme has them after a while.")
	start := time.Now()
	if err := r.c.Seed(ctx, r.source.Namespace, "--docs", fmt.Sprint(r.cfg.docs), "--users", fmt.Sprint(r.cfg.users)); err != nil {
		return err
	}
	var err error
	if r.contents, err = readContents(ctx, r.couchThrough(r.source)); err != nil {
		return fmt.Errorf("read what was seeded: %w", err)
	}
	r.s.good("%s documents and %s users, each with a database of their own%s; the test remembers the content of all of them",
		count(r.cfg.docs), count(r.cfg.users), took(start))
	return nil
}

// write starts the writer and lets it write for a while.
func (r *run) write(ctx context.Context) error {
	r.s.numbered("People work with it", fmt.Sprintf("A writer saves %g documents a second through HAProxy and notes every single \"saved\" that it is told. These notes are the judge later.", r.cfg.rate))
	var err error
	if r.writer, err = r.c.StartLoad(ctx, r.source.Namespace, "writer", "--rate", fmt.Sprint(r.cfg.rate)); err != nil {
		return err
	}
	if err := pass(ctx, r.cfg.before); err != nil {
		return err
	}
	r.s.good("%s writes so far", count(len(r.writer.Writes())))
	return nil
}

// pass lets time go by.
func pass(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(d):
		return nil
	}
}

func (r *run) backUp(ctx context.Context) error {
	r.s.numbered("It is backed up, while the writer goes on", "All nodes hold still for a moment, their volumes are cut at that same moment, and they go on. Only so do the parts fit together.")
	disarm, err := guard(ctx, r.c)
	if err != nil {
		return err
	}
	defer disarm()
	args := []string{"backup", backupName, "-n", r.source.Namespace}
	if r.cfg.quiesce != string(api.QuiesceAuto) {
		args = append(args, "--quiesce", r.cfg.quiesce)
	}
	backupErr := r.kubectl.run(ctx, args...)
	if backupErr == nil {
		backupErr = pass(ctx, r.cfg.after)
	}
	// The writer's log is fetched also after a failure: was anything refused?
	sum, err := r.writer.Stop(ctx)
	r.sum, r.writes, r.res.failed = sum, r.writer.Writes(), int(sum.Failed)
	if err := errors.Join(backupErr, err); err != nil {
		return err
	}
	r.b = &api.Backup{}
	if err := r.c.Client.Get(ctx, client.ObjectKey{Namespace: r.source.Namespace, Name: backupName}, r.b); err != nil {
		return fmt.Errorf("read the backup: %w", err)
	}
	if r.b.Status.Timeline == nil || r.b.Status.Timeline.Ready == nil || r.b.Status.StallMilliseconds == nil {
		return fmt.Errorf("backup %s/%s says that it is %s, and has no timeline", r.b.Namespace, r.b.Name, r.b.Status.Phase)
	}
	r.measure()
	r.showStall()
	return nil
}

// measure takes the numbers of the backup.
func (r *run) measure() {
	t := r.b.Status.Timeline
	start, end := t.QuiesceStart.UnixNano(), t.Released.UnixNano()
	for _, w := range r.writes {
		switch {
		case w.End < start:
			r.res.before++
		case w.Start > end:
			r.res.after++
		default:
			r.res.open++
		}
	}
	r.res.mode, r.res.stall = r.b.Status.QuiesceMode, time.Duration(*r.b.Status.StallMilliseconds)*time.Millisecond
	r.res.safe = t.Ready.Sub(r.b.Status.StartTime.Time)
	within := func(w load.Write) bool { return w.End >= start && w.Start <= end }
	_, r.res.longHeld = spread(r.writes, within)
	r.res.medianWait, r.res.longOther = spread(r.writes, func(w load.Write) bool { return !within(w) })
}

// showStall draws what the backup did, and what the writer felt of it.
func (r *run) showStall() {
	t := r.b.Status.Timeline
	start, end := t.QuiesceStart.Time, t.Released.Time
	r.s.head("   What the backup did", "")
	for _, line := range drawTimeline(moments(r.b), start, end) {
		r.s.line("%s", line)
	}
	r.s.head("   What the writer felt", fmt.Sprintf("Each column is the longest wait among the requests open then. At other times, half of all writes take less than %s.", milliseconds(r.res.medianWait+time.Millisecond)))
	w := around(start, end)
	for _, line := range drawWaits(waits(r.writes, w), plotRows) {
		r.s.line("%s", line)
	}
	text := fmt.Sprintf("writes held for %s", milliseconds(end.Sub(start)))
	if r.res.mode == api.QuiesceNone {
		text = "the cuts; nothing was held"
	}
	r.s.line("%s", drawMark(w, start, end, text))
	r.s.line("%s", drawSeconds(w, start))
	r.s.line("longest wait of a write: %s then, %s before and after; failed writes: %d of %s",
		milliseconds(r.res.longHeld), milliseconds(r.res.longOther), r.sum.Failed, count(int(r.sum.Sent)))
}
