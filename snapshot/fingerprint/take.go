package fingerprint

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/medic/cht-backup/snapshot/couchdb"
)

const (
	// MostChanged documents of a database may change between the cut and the end of
	// its stream: an eighth of the buckets then. Beyond that a digest says too little.
	MostChanged = Buckets / 8
	// MostExcluded bounds the buckets noted in one record.
	MostExcluded = Buckets
	// idle bounds the wait for CouchDB's next row.
	idle = 2 * time.Minute
)

// Begin notes where a database stands just before the cut.
func Begin(info couchdb.Info) *Database {
	d := &Database{Since: info.UpdateSeq, Purged: info.PurgeSeq, Created: info.Created}
	if d.Since == "" {
		d.Missing = "CouchDB gave no update_seq of it before the cut"
	}
	return d
}

// Take streams a database some time after the cut and works out the digest of
// what has not changed since before it: that is in the cut as it is now. It may
// be called again after an error. room is how many buckets may still be noted.
//
// A document that changed between the note of its position and the end of the
// stream may have been streamed as it was, as it is, or both; so its bucket is
// left out. Every such document is in the list of changes, which is asked for
// after the stream.
func (d *Database) Take(ctx context.Context, c *couchdb.Client, name string, digest *Digest, room int) error {
	if d.Digest != "" || d.Missing != "" {
		return nil
	}
	digest.Reset()
	_, err := c.Changes(ctx, name, couchdb.Feed{Idle: idle}, func(one couchdb.Change) error {
		if !OwnDocument(name, one.ID) {
			digest.Add(one.ID, one.Revs, one.Deleted)
		}
		return nil
	})
	switch {
	case couchdb.IsStatus(err, 404):
		return d.give("it was deleted after the cut")
	case err != nil:
		return fmt.Errorf("stream database %s: %w", name, err)
	}
	without, err := d.changed(ctx, c, name, max(0, min(room, MostChanged)))
	switch {
	case errors.Is(err, errTooMany):
		return d.give(fmt.Sprintf("more than %d of its documents changed between the cut and the end of its stream", max(0, min(room, MostChanged))))
	case err != nil:
		return err
	}
	// Last, so that it speaks for all of the above.
	infos, err := c.Infos(ctx, []string{name})
	if err != nil {
		return fmt.Errorf("look at database %s after its stream: %w", name, err)
	}
	switch info, there := infos[name]; {
	case !there || info.Created != d.Created:
		return d.give("it was deleted after the cut")
	case info.PurgeSeq != d.Purged:
		return d.give("documents were purged from it after the cut")
	}
	d.Without = without
	d.Digest, d.Documents = digest.Sum(without)
	d.Excluded = digest.Len() - d.Documents
	d.Since, d.Purged, d.Created = "", "", ""
	return nil
}

// give writes down why there is no digest.
func (d *Database) give(why string) error {
	*d = Database{Missing: why}
	return nil
}

// Give does so for a database that cannot be read.
func (d *Database) Give(why string) { _ = d.give(why) }

var errTooMany = errors.New("too many changes")

// changed lists the buckets of the documents that changed since before the cut.
func (d *Database) changed(ctx context.Context, c *couchdb.Client, name string, most int) (Without, error) {
	var without Without
	n := 0
	_, err := c.Changes(ctx, name, couchdb.Feed{Since: d.Since, Limit: most + 1, Idle: idle}, func(one couchdb.Change) error {
		if OwnDocument(name, one.ID) {
			return nil
		}
		if n++; n > most {
			return errTooMany
		}
		without = append(without, BucketOf(one.ID))
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("list the changes of database %s since the cut: %w", name, err)
	}
	slices.Sort(without)
	return slices.Compact(without), nil
}
