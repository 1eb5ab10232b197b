package replicate

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/snapshot/couchdb"
	"github.com/medic/cht-backup/snapshot/reason"
)

// Whole copies and compares all there is, from a database at rest. It gives the
// number of documents as Finish does.
func (j Job) Whole(ctx context.Context) (documents int64, err error) {
	if err := j.Copy(ctx); err != nil {
		return 0, err
	}
	return j.Finish(ctx)
}

// Copy copies all documents but the design documents, which Finish copies: a
// validation or an index of theirs would be in the way. It goes on from where an
// earlier call came to, and from what has changed since.
func (j Job) Copy(ctx context.Context) error {
	marker, err := j.marker(ctx)
	if err != nil {
		return err
	}
	total, err := j.total(ctx)
	if err != nil {
		return err
	}
	progress := &meter{report: j.Report, begun: time.Now()}
	for done := int64(0); ; {
		progress.tell("copying documents", done, total)
		var rows []couchdb.Change
		var last string
		if err := insist(ctx, func() (err error) {
			rows = rows[:0]
			last, err = j.From.next().Changes(ctx, j.From.Database, couchdb.Feed{Since: marker.Since, Limit: page, Idle: j.Idle}, func(c couchdb.Change) error {
				rows = append(rows, c)
				return nil
			})
			return err
		}); err != nil {
			return fmt.Errorf("read the changes of database %s: %w", j.From.Database, err)
		}
		if err := j.rows(ctx, rows); err != nil {
			return err
		}
		done += int64(len(rows))
		marker.Since, marker.Exact = last, false
		if err := WriteMarker(ctx, j.To, marker); err != nil {
			return err
		}
		if len(rows) < page {
			progress.tell("copying documents", done, total)
			return nil
		}
	}
}

// marker reads the target's, which must be of this restore.
func (j Job) marker(ctx context.Context) (*Marker, error) {
	marker, err := ReadMarker(ctx, j.To)
	if err != nil {
		return nil, err
	}
	if marker == nil || marker.Restore != j.Owner {
		return nil, reason.Refuse(api.ReasonDatabaseExists, "database %s is not of this restore and is not written to", j.To.Database)
	}
	return marker, nil
}

func (j Job) total(ctx context.Context) (total int64, err error) {
	err = insist(ctx, func() error {
		infos, err := j.From.next().Infos(ctx, []string{j.From.Database})
		if err != nil {
			return err
		}
		info, there := infos[j.From.Database]
		if !there {
			return fmt.Errorf("database %s does not answer", j.From.Database)
		}
		total = info.Documents + info.Deleted
		return nil
	})
	return total, err
}

// rows copies the documents of one page, but the design documents.
func (j Job) rows(ctx context.Context, rows []couchdb.Change) error {
	revs := make(map[string][]string, chunk)
	var chunks []map[string][]string
	for _, row := range rows {
		if strings.HasPrefix(row.ID, designPrefix) {
			continue
		}
		revs[row.ID] = row.Revs
		if len(revs) == chunk {
			chunks, revs = append(chunks, revs), make(map[string][]string, chunk)
		}
	}
	if len(revs) > 0 {
		chunks = append(chunks, revs)
	}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(workers)
	for _, revs := range chunks {
		group.Go(func() error { return j.leaves(ctx, revs) })
	}
	return group.Wait()
}

const designPrefix = "_design/"

// leaves copies those of the named revisions that the target lacks.
func (j Job) leaves(ctx context.Context, revs map[string][]string) error {
	var missing []couchdb.Leaf
	if err := insist(ctx, func() (err error) {
		missing, err = j.To.next().Missing(ctx, j.To.Database, revs)
		return err
	}); err != nil {
		return fmt.Errorf("compare revisions with database %s: %w", j.To.Database, err)
	}
	if len(missing) == 0 {
		return nil
	}
	small, large, err := j.bulk(ctx, missing, false)
	if err != nil {
		return err
	}
	for len(small) > 0 { // a few at a time: their attachments are held with them
		n, bytes := 0, int64(0)
		for n < len(small) && (n == 0 || bytes+small[n].AttachmentBytes <= batchBytes) {
			bytes += small[n].AttachmentBytes
			n++
		}
		var some []couchdb.Leaf
		for _, r := range small[:n] {
			some = append(some, r.Leaf)
		}
		if _, _, err := j.bulk(ctx, some, true); err != nil {
			return err
		}
		small = small[n:]
	}
	for _, r := range large {
		if err := insist(ctx, func() error {
			return j.To.next().CopyRevision(ctx, j.To.Database, j.From.next(), j.From.Database, r.Leaf, j.Idle)
		}); err != nil {
			return fmt.Errorf("copy document %s with its attachments (%d bytes) from database %s: %w", r.ID, r.AttachmentBytes, j.From.Database, err)
		}
	}
	return nil
}

// bulk reads revisions and writes them. Without attachments it leaves those that
// have any, and gives them back.
func (j Job) bulk(ctx context.Context, leaves []couchdb.Leaf, attachments bool) (small, large []couchdb.Revision, err error) {
	err = insist(ctx, func() error {
		small, large = nil, nil
		b := batch{job: j}
		err := j.From.next().Revisions(ctx, j.From.Database, leaves, attachments, j.Idle, func(r couchdb.Revision) error {
			switch {
			case attachments || !r.HasAttachments:
				return b.add(ctx, r.Doc)
			case r.AttachmentBytes <= inline:
				small = append(small, couchdb.Revision{Leaf: r.Leaf, AttachmentBytes: r.AttachmentBytes})
			default:
				large = append(large, couchdb.Revision{Leaf: r.Leaf, AttachmentBytes: r.AttachmentBytes})
			}
			return nil
		})
		if err != nil {
			return err
		}
		return b.store(ctx)
	})
	if err != nil {
		err = fmt.Errorf("copy documents from database %s to %s: %w", j.From.Database, j.To.Database, err)
	}
	return small, large, err
}

// batch gathers documents for one request.
type batch struct {
	job   Job
	docs  []json.RawMessage
	bytes int
}

func (b *batch) add(ctx context.Context, doc json.RawMessage) error {
	if len(b.docs) > 0 && b.bytes+len(doc) > batchBytes {
		if err := b.store(ctx); err != nil {
			return err
		}
	}
	b.docs, b.bytes = append(b.docs, doc), b.bytes+len(doc)
	return nil
}

func (b *batch) store(ctx context.Context) error {
	if len(b.docs) == 0 {
		return nil
	}
	refused, err := b.job.To.next().Store(ctx, b.job.To.Database, b.docs)
	if err != nil {
		return err
	}
	for _, r := range refused {
		if r.Error == "forbidden" || r.Error == "unauthorized" || r.Error == "doc_validation" {
			return fmt.Errorf("document %s was %w by database %s: %s: %s", r.ID, errRefused, b.job.To.Database, r.Error, r.Reason)
		}
	}
	if len(refused) > 0 {
		r := refused[0]
		return fmt.Errorf("document %s was not written to database %s: %s: %s", r.ID, b.job.To.Database, r.Error, r.Reason)
	}
	b.docs, b.bytes = nil, 0
	return nil
}
