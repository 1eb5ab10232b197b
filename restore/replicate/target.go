package replicate

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"

	"k8s.io/apimachinery/pkg/types"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/snapshot/couchdb"
	"github.com/medic/cht-backup/snapshot/reason"
)

// Target says what database is made for a copy.
type Target struct {
	Side
	Owner types.UID
	// From names the source, for people; it stands in the marker.
	From string
	// Shards is the number of ranges, Props what the source's shard map says besides.
	Shards int
	Props  json.RawMessage
}

// Make makes the database with its marker, or finds that it did so before. A
// database of anybody else is left alone, and is an error.
func Make(ctx context.Context, t Target) error {
	exists, err := Exists(ctx, t.Side)
	if err != nil {
		return err
	}
	if !exists {
		err := insist(ctx, func() error {
			err := t.next().CreateDatabase(ctx, t.Database, t.Shards, t.Props)
			if couchdb.IsStatus(err, http.StatusPreconditionFailed) {
				return nil // an answer that was lost, or somebody was quicker: the marker tells
			}
			return err
		})
		if err != nil {
			return fmt.Errorf("create database %s: %w", t.Database, err)
		}
	}
	marker, err := ReadMarker(ctx, t.Side)
	if err != nil {
		return err
	}
	if marker != nil && marker.Restore == t.Owner {
		return nil
	}
	if marker == nil {
		// Made by a call that was cut off before it wrote the marker, then.
		empty, err := isEmpty(ctx, t.Side)
		if err != nil {
			return err
		}
		if empty {
			return WriteMarker(ctx, t.Side, &Marker{Restore: t.Owner, From: t.From})
		}
	}
	return reason.Refuse(api.ReasonDatabaseExists, "database %s exists and is not of this restore; choose another name (--database-as), or delete it", t.Database)
}

// Exists tells whether there is such a database.
func Exists(ctx context.Context, side Side) (exists bool, err error) {
	err = insist(ctx, func() error {
		exists, err = side.next().Exists(ctx, side.Database)
		return err
	})
	if err != nil {
		return false, fmt.Errorf("look for database %s: %w", side.Database, err)
	}
	return exists, nil
}

func isEmpty(ctx context.Context, side Side) (empty bool, err error) {
	total, err := Job{From: side}.total(ctx)
	return total == 0, err
}

// Mine gives the marker of a database that was made for owner; nil when the
// database is not there, or is somebody else's.
func Mine(ctx context.Context, side Side, owner types.UID) (marker *Marker, exists bool, err error) {
	if exists, err = Exists(ctx, side); err != nil || !exists {
		return nil, exists, err
	}
	if marker, err = ReadMarker(ctx, side); err != nil {
		return nil, true, err
	}
	if marker != nil && marker.Restore != owner {
		marker = nil
	}
	return marker, true, nil
}

// Drop deletes a database that was made for owner. Any other is left alone.
func Drop(ctx context.Context, side Side, owner types.UID) error {
	marker, _, err := Mine(ctx, side, owner)
	if err != nil || marker == nil {
		return err
	}
	return Delete(ctx, side)
}

// Delete deletes a database, whosever it is.
func Delete(ctx context.Context, side Side) error {
	if err := insist(ctx, func() error { return side.next().DeleteDatabase(ctx, side.Database) }); err != nil {
		return fmt.Errorf("delete database %s: %w", side.Database, err)
	}
	return nil
}
