package file

import (
	"context"
	"errors"
	"time"

	"golang.org/x/sync/errgroup"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/snapshot/file/transfer"
	"github.com/medic/cht-backup/snapshot/reason"
)

const (
	// firstPause and longestPause are those before a repository is tried again, patience
	// how long nothing may have moved before it is given up.
	firstPause   = 5 * time.Second
	longestPause = time.Minute
	patience     = 15 * time.Minute
	// keepAwake is how often a copier is asked that waits for its turn.
	keepAwake = time.Minute
	// closeWithin bounds what is done for a copying that is over.
	closeWithin = 20 * time.Second
)

// job copies the files of one cut.
type job struct {
	*Snapshotter
	backup     types.NamespacedName
	uid        types.UID
	repository Repository
	parts      []*part
	// stop ends it, over is closed once it has ended. Both are nil before it is started.
	stop context.CancelFunc
	over chan struct{}

	// The rest is under the lock of the Snapshotter.

	// waits: others are copied first.
	waits bool
	// trouble is the error after which it is tried again, err the one it ended with.
	trouble, err error
	// moved is when something was last copied.
	moved time.Time
}

// part is one node's.
type part struct {
	*member
	progress transfer.Progress
	// at is what was done when the present try began to move, since when that was.
	at    int64
	since time.Time
	sent  int64
	// file is what is in the repository; nil until it is.
	file *api.FileVolume
}

// begin notes a cut that was made. Nothing is copied before it is known to be a good one.
func (s *Snapshotter) begin(b *api.Backup, r Repository, members []*member) *job {
	j := &job{Snapshotter: s, backup: client.ObjectKeyFromObject(b), uid: b.UID, repository: r}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.jobs == nil {
		s.jobs = map[volume]*job{}
	}
	for _, m := range members {
		j.parts = append(j.parts, &part{member: m})
		s.jobs[volume{b.UID, m.service}] = j
	}
	return j
}

// start has a cut copied, once.
func (s *Snapshotter) start(j *job) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if j.over != nil || s.stopped {
		return
	}
	var ctx context.Context // it outlives the turn of the backup that starts it
	ctx, j.stop = context.WithCancel(context.Background())
	j.over, j.moved = make(chan struct{}), s.Now()
	s.running.Go(func() {
		defer close(j.over)
		defer j.stop()
		j.run(ctx)
	})
}

// Start implements a manager's Runnable. All copying ends with ctx, and has ended when it
// returns: another controller goes on with it, and two must not.
func (s *Snapshotter) Start(ctx context.Context) error {
	<-ctx.Done()
	s.mu.Lock()
	s.stopped = true
	for _, j := range s.jobs {
		if j.stop != nil {
			j.stop()
		}
	}
	s.mu.Unlock()
	s.running.Wait()
	return nil
}

// NeedLeaderElection says that one of several controllers copies.
func (s *Snapshotter) NeedLeaderElection() bool { return true }

// run copies until all is copied, or it is stopped, or nothing can help.
func (j *job) run(ctx context.Context) {
	defer func() {
		for _, p := range j.parts {
			p.copier.Close()
		}
	}()
	err := j.takeTurn(ctx)
	if err == nil {
		defer j.Turns.Release(1)
		err = j.untilDone(ctx)
	}
	j.set(func() { j.err = err })
	if ctx.Err() == nil && j.wake != nil {
		j.wake(j.backup)
	}
}

func (j *job) set(change func()) {
	j.mu.Lock()
	defer j.mu.Unlock()
	change()
}

// takeTurn waits until few enough others are copied. The copiers hold the files
// meanwhile, and hear from us.
func (j *job) takeTurn(ctx context.Context) error {
	if j.Turns.TryAcquire(1) {
		return nil
	}
	j.set(func() { j.waits = true })
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	go func() {
		for tick := time.NewTicker(keepAwake); ; {
			select {
			case <-ctx.Done():
				tick.Stop()
				return
			case <-tick.C:
			}
			for _, p := range j.parts {
				if _, err := p.copier.State(ctx); err != nil {
					cancel(lost(p.service, err))
				}
			}
		}
	}()
	err := j.Turns.Acquire(ctx, 1)
	j.set(func() { j.waits, j.moved = false, j.Now() })
	if err != nil {
		return context.Cause(ctx)
	}
	return nil
}

// untilDone tries again what can pass: a bucket that is away for some minutes shall not
// cost the night's backup.
func (j *job) untilDone(ctx context.Context) error {
	for pause := firstPause; ; pause = min(2*pause, longestPause) {
		err := j.try(ctx)
		if err == nil || ctx.Err() != nil || reason.Of(err) != nil {
			return err
		}
		idle := time.Duration(0)
		j.set(func() { j.trouble, idle = err, j.Now().Sub(j.moved) })
		if idle > patience {
			return repositoryFailed(err)
		}
		log.FromContext(ctx).Info("the files are not copied yet; trying again", "namespace", j.backup.Namespace, "backup", j.backup.Name, "in", pause.String(), "error", err.Error())
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(pause):
		}
	}
}

// try copies what is not copied yet.
func (j *job) try(ctx context.Context) error {
	var left []*part
	var nodes []string
	j.set(func() {
		for _, p := range j.parts {
			if p.file == nil {
				p.since = time.Time{}
				left, nodes = append(left, p), append(nodes, p.service)
			}
		}
	})
	if len(left) == 0 {
		return nil
	}
	trees, err := j.repository.Trees(ctx)
	if err != nil {
		return err
	}
	session, err := j.repository.Begin(ctx, string(j.uid), nodes, bases(trees, nodes))
	if err != nil {
		return err
	}
	defer func() {
		bounded, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeWithin)
		defer cancel()
		if err := session.Close(bounded); err != nil {
			log.FromContext(ctx).Info("a repository was left as if it were written to; that passes with time", "repository", j.repository.ID(), "error", err.Error())
		}
	}()
	group, all := errgroup.WithContext(ctx)
	for _, p := range left {
		group.Go(func() error { return j.copy(all, p, session) })
	}
	return group.Wait()
}

// bases are the newest trees of the nodes.
func bases(trees []Tree, nodes []string) (names []string) {
	for _, n := range nodes {
		for i := len(trees) - 1; i >= 0; i-- {
			if trees[i].Node == n {
				names = append(names, trees[i].Name)
				break
			}
		}
	}
	return names
}

// copy copies one node's files.
func (j *job) copy(ctx context.Context, p *part, to Session) error {
	source := p.copier.Source(p.measured.Cut, to.HashKey())
	counted := &counter{Session: to}
	t, name, err := transfer.Backup(ctx, guarded{Source: source, service: p.service}, counted, p.service, transfer.Options{Slots: j.Slots, Progress: func(now transfer.Progress) {
		j.set(func() { j.report(p, now) })
	}})
	if errors.Is(err, transfer.ErrShort) {
		return reason.Refuse(api.ReasonSnapshotFailed, "a file of the cut is not whole, which CouchDB never lets happen to a shard; see its log: %w", err)
	}
	if err != nil {
		return err
	}
	file := fileOf(j.repository.ID(), name, t.Dropped, len(t.Files), t.Size())
	j.set(func() {
		p.sent += counted.sent.Load()
		file.Sent = bytes(p.sent)
		p.file = file
	})
	// The space that the held files keep is the CHT's.
	bounded, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeWithin)
	defer cancel()
	if err := source.Close(bounded); err != nil {
		log.FromContext(ctx).Info("a copier did not say that it lets the files go; its pod is removed in a moment", "node", p.service, "error", err.Error())
	}
	return nil
}

// report notes how far a part is. What was found in the repository comes at once, and
// says nothing of the rate.
func (j *job) report(p *part, now transfer.Progress) {
	at := j.Now()
	if now.Done > p.progress.Done {
		j.moved, j.trouble = at, nil
	}
	if p.since.IsZero() {
		p.since, p.at = at, now.Done
	}
	p.progress = now
}

// text tells people how far a part is.
func (j *job) text(p *part) string {
	text := ""
	switch {
	case p.file != nil:
		return "100 %"
	case j.waits:
		text = "waits until other files are copied"
	case p.progress.Files == 0:
		text = "begins"
	default:
		text = p.progress.Text(p.at, j.Now().Sub(p.since))
	}
	if j.trouble != nil {
		text += " (tried again after: " + j.trouble.Error() + ")"
	}
	return text
}

// mostDropped are named in a status.
const mostDropped = 10

func fileOf(repository, name string, dropped []string, files int, size int64) *api.FileVolume {
	if more := len(dropped) - mostDropped; more > 0 {
		dropped = append(dropped[:mostDropped:mostDropped], andMore(more))
	}
	return &api.FileVolume{Repository: repository, Tree: name, Files: int32(files), Size: bytes(size), Dropped: dropped, Complete: true} //nolint:gosec // far below
}
