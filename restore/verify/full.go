package verify

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/snapshot/couchdb"
	"github.com/medic/cht-backup/snapshot/fingerprint"
)

const (
	// streams are the databases read at a time. Each takes a digest's 2.5 MB and
	// one document's body.
	streams = 3
	// readers are the attachments read at a time.
	readers = 6
	// streamTries is how often a database is streamed before what breaks it off is
	// a finding: each may take an hour.
	streamTries = 3
)

// documents streams every database: ids and revisions, bodies, attachments.
func (r *run) documents(ctx context.Context) error {
	r.meter.began.Store(time.Now().UnixNano())
	work, within := errgroup.WithContext(ctx)
	jobs := make(chan attachment)
	var reading sync.WaitGroup
	for range readers {
		reading.Go(func() {
			for a := range jobs {
				r.readAttachment(within, a)
			}
		})
	}
	if p := r.Record.Fingerprint; p == nil || p.Level != api.FingerprintFull {
		r.note("the backup has no digests of its databases (its spec.fingerprint is not Full): every id and revision was read, and only the number of documents compared")
	}
	digests := sync.Pool{New: func() any { return &fingerprint.Digest{} }}
	work.SetLimit(streams)
	for i, name := range r.names {
		work.Go(func() error {
			digest, _ := digests.Get().(*fingerprint.Digest)
			defer digests.Put(digest)
			return r.database(within, i%len(r.Clients), name, digest, jobs)
		})
	}
	err := work.Wait()
	close(jobs)
	reading.Wait()
	return err
}

// database streams one database and compares its digest.
func (r *run) database(ctx context.Context, node int, name string, digest *fingerprint.Digest, jobs chan<- attachment) error {
	var read *tally
	finding, err := r.insist(ctx, streamTries, func() (err error) {
		read, err = r.stream(ctx, node, name, digest, jobs)
		return err
	})
	if err != nil {
		return err
	}
	if finding != nil {
		r.problem("database %s cannot be read to its end through %s: %s", name, r.Services[node], finding)
		return nil
	}
	if total, counted := r.totals[name]; counted && read.rows < total && !fingerprint.Own(name) {
		r.problem("database %s gave %d documents when all were asked for, deleted ones included; by its own count it has %d", name, read.rows, total)
	}
	same := true
	if problem := r.compare(name, digest); problem != "" {
		// A row may come twice. Whoever finds the same again, without bodies, is right.
		finding, err := r.insist(ctx, streamTries, func() error {
			digest.Reset()
			_, err := r.Clients[node].Changes(ctx, name, couchdb.Feed{Idle: r.Stuck}, func(c couchdb.Change) error {
				r.meter.moves.Add(1)
				r.add(name, digest, c)
				return nil
			})
			return err
		})
		if err != nil {
			return err
		}
		if problem = r.compare(name, digest); finding != nil || problem != "" {
			same = false
			r.problem("%s", problem)
		}
	}
	if same && r.digestOf(name) != nil {
		r.count(func(v *api.Verification) { v.Digests++ })
	}
	r.count(func(v *api.Verification) {
		v.Streamed += read.rows
		v.Attachments += read.attachments.Load()
		v.AttachmentBytes += read.bytes.Load()
	})
	return nil
}

// tally is what one pass through a database has read.
type tally struct {
	rows               int64
	attachments, bytes atomic.Int64
	pending            sync.WaitGroup
}

func (r *run) stream(ctx context.Context, node int, name string, digest *fingerprint.Digest, jobs chan<- attachment) (*tally, error) {
	t := &tally{}
	digest.Reset()
	hand := func(a attachment) error {
		t.pending.Add(1)
		select {
		case jobs <- a:
			return nil
		case <-ctx.Done():
			t.pending.Done()
			return context.Cause(ctx)
		}
	}
	_, err := r.Clients[node].Changes(ctx, name, couchdb.Feed{Bodies: true, Idle: r.Stuck}, func(c couchdb.Change) error {
		t.rows++
		r.meter.done.Add(1)
		r.meter.moves.Add(1)
		r.add(name, digest, c)
		if c.Doc == nil || len(c.Revs) == 0 {
			r.problem("document %s of database %s is listed and has no body", c.ID, name)
			return nil
		}
		for att, is := range c.Doc.Attachments {
			if err := hand(attachment{node: node, database: name, id: c.ID, rev: c.Revs[0], name: att, digest: is.Digest, tally: t}); err != nil {
				return err
			}
		}
		for _, rev := range c.Doc.Conflicts {
			if err := hand(attachment{node: node, database: name, id: c.ID, rev: rev, tally: t}); err != nil {
				return err
			}
		}
		return nil
	})
	t.pending.Wait()
	if err != nil {
		r.meter.done.Add(-t.rows)
	}
	return t, err
}

func (r *run) add(database string, digest *fingerprint.Digest, c couchdb.Change) {
	if !fingerprint.OwnDocument(database, c.ID) {
		digest.Add(c.ID, c.Revs, c.Deleted)
	}
}

func (r *run) digestOf(database string) *fingerprint.Database {
	if r.Record.Fingerprint == nil {
		return nil
	}
	if d := r.Record.Fingerprint.Databases[database]; d != nil && d.Digest != "" {
		return d
	}
	return nil
}

// compare says how a database differs from the backup's digest, or notes why it
// cannot be compared.
func (r *run) compare(database string, digest *fingerprint.Digest) (problem string) {
	p := r.Record.Fingerprint
	if p == nil || p.Level != api.FingerprintFull {
		return ""
	}
	want := r.digestOf(database)
	if want == nil {
		why := "the backup has no digest of it"
		switch d := p.Databases[database]; {
		case fingerprint.Own(database):
			why = "CouchDB itself writes into it when it starts"
		case d != nil && d.Missing != "":
			why = d.Missing
		}
		r.note("the ids and revisions of database %s were read but not compared: %s", database, why)
		return ""
	}
	sum, documents := digest.Sum(want.Without)
	if sum == want.Digest && documents == want.Documents {
		return ""
	}
	if documents != want.Documents {
		return fmt.Sprintf("database %s has %d documents in what can be compared, deleted ones included; the backup has %d", database, documents, want.Documents)
	}
	return fmt.Sprintf("database %s has %d documents as the backup has, but not the same ids and revisions: their digest differs", database, documents)
}

// attachment is one to be read; without a name, all those of a revision in
// conflict.
type attachment struct {
	node                            int
	database, id, rev, name, digest string
	tally                           *tally
}

// readAttachment reads it and compares its digest. Only the end of ctx keeps it
// from a verdict, and that ends the stream too.
func (r *run) readAttachment(ctx context.Context, a attachment) {
	defer a.tally.pending.Done()
	client := r.Clients[a.node]
	if a.name == "" {
		var head couchdb.DocHead
		finding, err := r.insist(ctx, patience, func() (err error) {
			head, err = client.Head(ctx, a.database, a.id, a.rev)
			return err
		})
		if finding != nil {
			r.problem("revision %s of document %s in database %s, which is in conflict with another, cannot be read: %s", a.rev, a.id, a.database, finding)
		}
		if finding != nil || err != nil {
			return
		}
		for name, is := range head.Attachments {
			one := a
			one.name, one.digest = name, is.Digest
			a.tally.pending.Add(1)
			r.readAttachment(ctx, one)
		}
		return
	}
	if !strings.HasPrefix(a.digest, "md5-") {
		r.note("attachment %s of document %s in database %s has no MD5 digest: it was not compared", a.name, a.id, a.database)
		return
	}
	finding, err := r.insist(ctx, streamTries, func() error {
		got, n, err := client.ReadAttachment(ctx, a.database, a.id, a.rev, a.name, r.Stuck)
		if err == nil && got != a.digest {
			err = fmt.Errorf("%w %s, its document says %s", errDigest, got, a.digest)
		}
		if err == nil {
			a.tally.attachments.Add(1)
			a.tally.bytes.Add(n)
		}
		return err
	})
	if err == nil && finding != nil {
		r.problem("attachment %s of document %s in database %s is damaged: %s", a.name, a.id, a.database, finding)
	}
}

var errDigest = errors.New("its content has the digest")
