package restore

import (
	"context"
	"errors"
	"fmt"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/snapshot/catalog"
	"github.com/medic/cht-backup/snapshot/couchdb"
	"github.com/medic/cht-backup/snapshot/reason"
)

const (
	// sampleDatabases and sampleDocuments bound what is read back.
	sampleDatabases = 50
	sampleDocuments = 20
	mostProblems    = 20
	// patience is how often an incomplete answer is asked for again.
	patience = 8
)

// verify asks every node for the counts of every database and reads a sample of
// documents. An answer with status 200 proves nothing here: CouchDB makes empty
// shards where it finds none.
func (c couch) verify(ctx context.Context, record catalog.Record, plan shardPlan) (api.Verification, error) {
	v := api.Verification{Shards: int32(plan.Shards), Databases: int32(len(plan.Maps))} //nolint:gosec // far below
	names := make([]string, len(plan.Maps))
	for i, m := range plan.Maps {
		names[i] = m.ID
	}
	for i, client := range c.clients {
		var counts map[string]couchdb.Counts
		looks := 0
		err := retry(ctx, func() (err error) {
			if counts, err = client.Counts(ctx, names); err != nil {
				return notYet{fmt.Errorf("counts through %s: %w", c.services[i], err)}
			}
			// Fresh maps may take a moment; after that a missing answer is a finding.
			if looks++; len(counts) < len(names) && looks < patience {
				return notYet{fmt.Errorf("%s answers for %d of %d databases", c.services[i], len(counts), len(names))}
			}
			return nil
		})
		if err != nil {
			return v, err
		}
		documents, problems := compareCounts(record, counts, names)
		v.Documents = documents
		for _, p := range problems {
			v.Problems = append(v.Problems, "through "+c.services[i]+": "+p)
		}
	}
	for i, name := range names {
		if i >= sampleDatabases {
			break
		}
		read, problem, err := c.sample(ctx, i%len(c.clients), name)
		if err != nil {
			return v, err
		}
		if problem != "" {
			v.Problems = append(v.Problems, problem)
		}
		v.Sampled += read
	}
	return v, judge(&v)
}

// sample reads a few documents through one node. Only an answer is a finding, and
// only when it stays the same: a CouchDB that is slow is not one that lost data.
func (c couch) sample(ctx context.Context, node int, database string) (read int64, problem string, err error) {
	looks := 0
	err = retry(ctx, func() error {
		var err error
		read, err = c.clients[node].ReadSample(ctx, database, sampleDocuments)
		if err == nil {
			return nil
		}
		var answer *couchdb.StatusError
		if looks++; looks >= patience && (errors.As(err, &answer) || errors.Is(err, couchdb.ErrUnreadable)) {
			problem = fmt.Sprintf("database %s cannot be read through %s: %s", database, c.services[node], err)
			return nil
		}
		return notYet{fmt.Errorf("read database %s through %s: %w", database, c.services[node], err)}
	})
	return read, problem, err
}

// judge turns problems into an error and keeps the list short.
func judge(v *api.Verification) error {
	if len(v.Problems) == 0 {
		return nil
	}
	first, all := v.Problems[0], len(v.Problems)
	if all > mostProblems {
		v.Problems = append(v.Problems[:mostProblems], fmt.Sprintf("and %d more", all-mostProblems))
	}
	return reason.Refuse(api.ReasonVerificationFailed, "the restored data is not what was backed up: %s (%d problems in all, see status.verification)", first, all)
}
