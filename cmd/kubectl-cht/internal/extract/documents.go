package extract

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/medic/cht-backup/snapshot/catalog"
	"github.com/medic/cht-backup/snapshot/couchdb"
)

// idle bounds the wait for the next byte of CouchDB's.
const idle = 2 * time.Minute

// lines writes documents, one a line.
type lines struct {
	out io.Writer
	n   int64
	buf bytes.Buffer
}

func (l *lines) add(doc json.RawMessage) error {
	l.buf.Reset()
	if err := json.Compact(&l.buf, doc); err != nil {
		return err
	}
	l.buf.WriteByte('\n')
	if _, err := l.out.Write(l.buf.Bytes()); err != nil {
		return &OutputError{err}
	}
	l.n++
	return nil
}

// OutputError is of who reads the lines.
type OutputError struct{ err error }

func (e *OutputError) Error() string { return "write the output: " + e.err.Error() }
func (e *OutputError) Unwrap() error { return e.err }

// Documents writes the living documents of a database, and gives how many.
func Documents(ctx context.Context, couch *couchdb.Client, database string, attachments bool, out io.Writer) (int64, error) {
	l := &lines{out: out}
	err := couch.AllDocuments(ctx, database, attachments, idle, l.add)
	return l.n, err
}

// History is what was written of a document.
type History struct {
	// Leaves and Earlier are revisions with their bodies, Gone those that are known by
	// name alone: CouchDB's compaction drops all but leaves.
	Leaves, Earlier, Gone int
}

// Revisions writes all leaf revisions of a document, with the names of those before them
// as _revisions, and then the earlier ones that CouchDB still has, the newest first.
func Revisions(ctx context.Context, couch *couchdb.Client, database, id string, attachments bool, out io.Writer) (History, error) {
	l, h := &lines{out: out}, History{}
	var leaves []string
	err := couch.Leaves(ctx, database, id, attachments, idle, func(doc json.RawMessage) error {
		var head struct {
			Rev string `json:"_rev"`
		}
		if err := json.Unmarshal(doc, &head); err != nil {
			return err
		}
		leaves = append(leaves, head.Rev)
		h.Leaves++
		return l.add(doc)
	})
	if err != nil {
		return h, err
	}
	told := map[string]bool{}
	for _, leaf := range leaves {
		told[leaf] = true
	}
	for _, leaf := range leaves {
		earlier, has, err := couch.Earlier(ctx, database, id, leaf)
		if err != nil {
			return h, fmt.Errorf("look for the revisions before %s: %w", leaf, err)
		}
		for _, rev := range earlier {
			if told[rev] { // two leaves have it before them
				continue
			}
			told[rev] = true
			if !has[rev] {
				h.Gone++
				continue
			}
			doc, err := couch.Document(ctx, database, id, rev, attachments, idle)
			if errors.Is(err, couchdb.ErrGone) {
				h.Gone++
				continue
			}
			if err == nil {
				err = l.add(doc)
			}
			if err != nil {
				return h, err
			}
			h.Earlier++
		}
	}
	return h, nil
}

// Compare says where a database differs from what was counted around the cut; nothing
// where the record has no counts. CouchDB itself writes into its own databases when it
// starts, so those have no upper bound.
func Compare(record catalog.Record, database string, got couchdb.Counts) []string {
	var differences []string
	total := got.Documents + got.Deleted
	if least, ok := record.Before.Counts[database]; ok && total < least.Documents+least.Deleted {
		differences = append(differences, fmt.Sprintf("database %s has %d documents (deleted ones included), at least %d were counted when the backup was made", database, total, least.Documents+least.Deleted))
	}
	if most, ok := record.After.Counts[database]; ok && database[0] != '_' && total > most.Documents+most.Deleted {
		differences = append(differences, fmt.Sprintf("database %s has %d documents (deleted ones included), at most %d were counted when the backup was made", database, total, most.Documents+most.Deleted))
	}
	return differences
}
