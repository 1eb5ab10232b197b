package fingerprint

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/medic/cht-backup/snapshot/couchdb"
)

const (
	// PerDatabase bounds the documents that are noted of one database.
	PerDatabase = 20
	// InAll bounds those of all databases together.
	InAll = 2000
	// draws from a database, each of documents that stand together.
	draws = 4
	// farthest that a draw skips: CouchDB walks through what is skipped.
	farthest = 5000
	// parallel requests to CouchDB, which has others to serve.
	parallel = 4
)

// Sample is living documents with their living leaf revisions, by database.
type Sample map[string]map[string][]string

// Choose draws documents at random and notes their revisions. It is done before
// the cut; counts are the databases and their documents.
func Choose(ctx context.Context, c *couchdb.Client, counts map[string]couchdb.Counts) (Sample, error) {
	shares := share(counts)
	sample := Sample{}
	var mu sync.Mutex
	work, within := errgroup.WithContext(ctx)
	work.SetLimit(parallel)
	for _, database := range slices.Sorted(maps.Keys(shares)) {
		work.Go(func() error {
			ids, err := draw(within, c, database, counts[database].Documents, shares[database])
			if err != nil || len(ids) == 0 {
				return err
			}
			revs, err := c.LivingRevs(within, database, ids)
			if err != nil {
				return fmt.Errorf("sample database %s: %w", database, err)
			}
			mu.Lock()
			defer mu.Unlock()
			sample[database] = revs
			return nil
		})
	}
	return sample, work.Wait()
}

// share tells how many documents of each database are drawn. The large ones have
// their full number, the others what is left of all, evenly. If there are more
// databases than documents to note, chance decides.
func share(counts map[string]couchdb.Counts) map[string]int {
	var names []string
	for name, c := range counts {
		if c.Documents > 0 && !Own(name) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	rand.Shuffle(len(names), func(i, j int) { names[i], names[j] = names[j], names[i] })
	slices.SortStableFunc(names, func(a, b string) int {
		// Those of one size stay shuffled.
		return int(min(counts[b].Documents, 1000)) - int(min(counts[a].Documents, 1000))
	})
	shares, left := map[string]int{}, InAll
	for i, name := range names {
		n := PerDatabase
		if i >= 10 { // the ten largest are what a CHT lives on
			n = min(PerDatabase, max(1, left/(len(names)-i)))
		}
		if n = min(n, left); n > 0 {
			shares[name] = n
			left -= n
		}
	}
	return shares
}

// draw gives ids of up to n documents. CouchDB has no call for that: a small
// database is drawn from by number, a large one from beginnings of ids, too.
func draw(ctx context.Context, c *couchdb.Client, database string, documents int64, n int) ([]string, error) {
	ids := map[string]bool{}
	add := func(start string, skip, limit int) (int, error) {
		list, err := c.IDs(ctx, database, start, skip, limit)
		for _, id := range list {
			if !OwnDocument(database, id) && len(ids) < n {
				ids[id] = true
			}
		}
		return len(list), err
	}
	if documents <= int64(n) {
		_, err := add("", 0, n+1)
		return slices.Sorted(maps.Keys(ids)), sampleError(database, err)
	}
	each := (n + draws - 1) / draws
	for i := range draws {
		start, skip := "", rand.IntN(int(min(documents, farthest)))
		if documents > farthest && i%2 == 1 {
			const begin = "0123456789abcdefghijklmnopqrstuvwxyz"
			start = string([]byte{begin[rand.IntN(len(begin))], begin[rand.IntN(len(begin))]})
		}
		got, err := add(start, skip, each)
		if err == nil && got == 0 {
			_, err = add("", skip, each)
		}
		if err != nil {
			return nil, sampleError(database, err)
		}
	}
	return slices.Sorted(maps.Keys(ids)), nil
}

func sampleError(database string, err error) error {
	if couchdb.IsStatus(err, 404) { // deleted meanwhile
		return nil
	}
	if err != nil {
		return fmt.Errorf("sample database %s: %w", database, err)
	}
	return nil
}

// Keep reads a sample again after the cut and keeps the documents with the same
// revisions: those are in the cut, whatever was written meanwhile.
func Keep(ctx context.Context, c *couchdb.Client, before Sample) (Sample, error) {
	kept := Sample{}
	var mu sync.Mutex
	work, within := errgroup.WithContext(ctx)
	work.SetLimit(parallel)
	for database, noted := range before {
		work.Go(func() error {
			now, err := c.LivingRevs(within, database, slices.Sorted(maps.Keys(noted)))
			if err != nil {
				return sampleError(database, err)
			}
			same := map[string][]string{}
			for id, revs := range noted {
				if slices.Equal(revs, now[id]) {
					same[id] = revs
				}
			}
			if len(same) == 0 {
				return nil
			}
			mu.Lock()
			defer mu.Unlock()
			kept[database] = same
			return nil
		})
	}
	return kept, work.Wait()
}
