package replicate

import (
	"context"
	"fmt"

	"k8s.io/apimachinery/pkg/types"

	"github.com/medic/cht-backup/snapshot/couchdb"
)

// markerID names the local document that says whose a copied database is and how
// far it is. It is not replicated, and stays: it tells where the database came
// from.
const markerID = "cht-backup-restore"

// Marker says whose a database is.
type Marker struct {
	Rev string `json:"_rev,omitempty"`
	// Restore is the UID of the restore that made the database.
	Restore types.UID `json:"restore"`
	// From names what it is copied from, for people.
	From string `json:"from"`
	// Since is the position up to which From was copied.
	Since string `json:"since,omitempty"`
	// Exact says that all was copied and compared.
	Exact bool `json:"exact,omitempty"`
}

// ReadMarker gives the marker of a database, or nil where it has none.
func ReadMarker(ctx context.Context, side Side) (*Marker, error) {
	var m Marker
	found := false
	err := insist(ctx, func() (err error) {
		found, err = side.next().LocalDocument(ctx, side.Database, markerID, &m)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read the marker of database %s: %w", side.Database, err)
	}
	if !found {
		return nil, nil
	}
	return &m, nil
}

// WriteMarker writes it, and notes its new revision.
func WriteMarker(ctx context.Context, side Side, m *Marker) error {
	err := insist(ctx, func() error {
		rev, err := side.next().PutLocalDocument(ctx, side.Database, markerID, m)
		if couchdb.IsStatus(err, 409) {
			// An answer that was lost: what stands there is ours, or somebody else's.
			var there Marker
			if found, readErr := side.next().LocalDocument(ctx, side.Database, markerID, &there); readErr == nil && found && there.Restore == m.Restore {
				m.Rev = there.Rev
			}
		}
		if err == nil {
			m.Rev = rev
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("write the marker of database %s: %w", side.Database, err)
	}
	return nil
}
