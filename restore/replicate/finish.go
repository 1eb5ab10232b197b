package replicate

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/snapshot/couchdb"
	"github.com/medic/cht-backup/snapshot/fingerprint"
	"github.com/medic/cht-backup/snapshot/reason"
)

// Finish copies the design documents and what a database has besides documents,
// then streams both databases and compares them: every id, all leaf revisions,
// which are deleted, every attachment's name and length. From must be at rest. It
// gives the number of documents, deleted ones included. A copy that is not exact
// is an error.
func (j Job) Finish(ctx context.Context) (documents int64, err error) {
	marker, err := j.marker(ctx)
	if err != nil {
		return 0, err
	}
	total, err := j.total(ctx)
	if err != nil {
		return 0, err
	}
	for _, property := range []string{couchdb.Security, couchdb.RevsLimit} {
		if err := j.property(ctx, property); err != nil {
			return 0, err
		}
	}
	c := &comparison{job: j, designs: map[string][]string{}}
	stop := c.tell(ctx, 2*total)
	defer stop()
	if err := c.read(ctx, j.From, &c.from, true); err != nil {
		return 0, err
	}
	if len(c.designs) > 0 {
		if err := j.leaves(ctx, c.designs); err != nil {
			return 0, err
		}
	}
	if err := c.read(ctx, j.To, &c.to, false); err != nil {
		return 0, err
	}
	if c.same() != nil { // a feed may give a row twice: whoever finds the same again is right
		if err := errors.Join(c.read(ctx, j.From, &c.from, false), c.read(ctx, j.To, &c.to, false)); err != nil {
			return 0, err
		}
	}
	if err := c.same(); err != nil {
		return 0, err
	}
	marker.Exact = true
	return c.from.Len(), WriteMarker(ctx, j.To, marker)
}

func (j Job) property(ctx context.Context, property string) error {
	err := insist(ctx, func() error {
		v, err := j.From.next().Property(ctx, j.From.Database, property)
		if err != nil {
			return err
		}
		return j.To.next().SetProperty(ctx, j.To.Database, property, v)
	})
	if err != nil {
		return fmt.Errorf("copy %s of database %s to %s: %w", property, j.From.Database, j.To.Database, err)
	}
	return nil
}

// comparison is of two databases at rest.
type comparison struct {
	job      Job
	from, to fingerprint.Digest
	designs  map[string][]string
	seen     atomic.Int64
}

// tell reports how many documents were read until it is stopped.
func (c *comparison) tell(ctx context.Context, total int64) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	var group errgroup.Group
	group.Go(func() error {
		progress := meter{report: c.job.Report, begun: time.Now(), last: time.Now()}
		ticks := time.NewTicker(reportEvery)
		defer ticks.Stop()
		for {
			select {
			case <-ctx.Done():
				return nil
			case <-ticks.C:
				progress.tell("comparing the copy", c.seen.Load()/2, total/2)
			}
		}
	})
	return func() {
		cancel()
		_ = group.Wait()
	}
}

// read streams one side into its digest.
func (c *comparison) read(ctx context.Context, side Side, digest *fingerprint.Digest, source bool) error {
	err := insist(ctx, func() error {
		digest.Reset()
		_, err := side.next().Changes(ctx, side.Database, couchdb.Feed{Bodies: true, Idle: c.job.Idle}, func(row couchdb.Change) error {
			c.seen.Add(1)
			if row.Doc == nil {
				return fmt.Errorf("document %s of database %s: %w", row.ID, side.Database, couchdb.ErrUnreadable)
			}
			if source && strings.HasPrefix(row.ID, designPrefix) {
				c.designs[row.ID] = row.Revs
			}
			digest.Add(row.ID, facts(row), row.Deleted)
			return nil
		})
		return err
	})
	if err != nil {
		return fmt.Errorf("read database %s to compare it: %w", side.Database, err)
	}
	return nil
}

// facts are what a document is compared by.
func facts(row couchdb.Change) []string {
	facts := row.Revs
	for name, a := range row.Doc.Attachments {
		facts = append(facts, "attachment "+strconv.FormatInt(a.Length, 10)+" "+name)
	}
	return facts
}

func (c *comparison) same() error {
	from, documents := c.from.Sum(nil)
	to, copied := c.to.Sum(nil)
	switch {
	case documents != copied:
		return reason.Refuse(api.ReasonReplicationFailed, "database %s has %d documents (deleted ones included) and its copy %s has %d; has somebody written to it? Restore again", c.job.From.Database, documents, c.job.To.Database, copied)
	case from != to:
		return reason.Refuse(api.ReasonReplicationFailed, "the copy %s has the %d documents of database %s, but not the same revisions or attachments; has somebody written to it? Restore again", c.job.To.Database, documents, c.job.From.Database)
	}
	return nil
}
