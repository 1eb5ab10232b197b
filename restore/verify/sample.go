package verify

import (
	"context"
	"maps"
	"slices"

	api "github.com/medic/cht-backup/api/v1alpha1"
)

const (
	// readDatabases and readDocuments bound what is read where the backup has no
	// sample to compare with.
	readDatabases = 50
	readDocuments = 20
)

// samples reads the documents whose revisions the backup noted, and compares
// them. Of databases without a sample a few documents are read.
func (r *run) samples(ctx context.Context) error {
	noted := map[string]map[string][]string{}
	if p := r.Record.Fingerprint; p != nil {
		noted = p.Samples
	}
	if len(noted) == 0 {
		r.note("the backup noted no documents' revisions (its spec.fingerprint is None, or it was taken by an older version): documents were read, their revisions not compared")
	}
	unnoted := 0
	for i, name := range r.names {
		if len(noted[name]) > 0 {
			if err := r.sample(ctx, i%len(r.Clients), name, noted[name]); err != nil {
				return err
			}
			continue
		}
		if unnoted++; unnoted > readDatabases {
			continue
		}
		if err := r.read(ctx, i%len(r.Clients), name); err != nil {
			return err
		}
	}
	return nil
}

// sample compares one database's.
func (r *run) sample(ctx context.Context, node int, database string, noted map[string][]string) error {
	ids := slices.Sorted(maps.Keys(noted))
	var found map[string][]string
	finding, err := r.insist(ctx, patience, func() (err error) {
		found, err = r.Clients[node].LivingRevs(ctx, database, ids)
		return err
	})
	if err != nil {
		return err
	}
	if finding != nil {
		r.problem("database %s cannot be read through %s: %s", database, r.Services[node], finding)
		return nil
	}
	same := int64(0)
	for _, id := range ids {
		revs, ok := found[id]
		switch {
		case !ok:
			r.problem("database %s lacks document %s, which the backup has", database, id)
		case !slices.Equal(revs, noted[id]):
			r.problem("database %s has revisions %v of document %s, the backup has %v", database, revs, id, noted[id])
		default:
			same++
		}
	}
	r.count(func(v *api.Verification) { v.Sampled += same })
	return nil
}

// read reads a few documents of a database.
func (r *run) read(ctx context.Context, node int, database string) error {
	finding, err := r.insist(ctx, patience, func() error {
		_, err := r.Clients[node].ReadSample(ctx, database, readDocuments)
		return err
	})
	if err != nil {
		return err
	}
	if finding != nil {
		r.problem("database %s cannot be read through %s: %s", database, r.Services[node], finding)
	}
	return nil
}
