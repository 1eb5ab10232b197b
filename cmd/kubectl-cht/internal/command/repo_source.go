package command

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"filippo.io/age"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/cmd/kubectl-cht/internal/exit"
	"github.com/medic/cht-backup/cmd/kubectl-cht/internal/extract"
	"github.com/medic/cht-backup/snapshot/catalog"
	"github.com/medic/cht-backup/snapshot/catalog/bucket"
	"github.com/medic/cht-backup/snapshot/file/repo"
	"github.com/medic/cht-backup/snapshot/file/transfer"
)

// fileSource is one database of a backup in its repository. The bucket is to be closed.
type fileSource struct {
	bucket     *bucket.Bucket
	record     catalog.Record
	repository *repo.Repository
	trees      []extract.Held
	database   extract.Database
	image      string
}

// chooseFiles finds all that is needed before anything is made in a cluster.
func (e *Env) chooseFiles(ctx context.Context, g *getting, argument, database string) (*fileSource, error) {
	identities, err := g.identity.identities(e.In)
	if err != nil {
		return nil, err
	}
	place, err := e.place(ctx, g.catalog, argument)
	if err != nil {
		return nil, err
	}
	b, scope, err := e.findCatalog(ctx, place)
	if err != nil {
		return nil, err
	}
	s := &fileSource{bucket: b}
	if err := e.lookInto(ctx, s, g, scope, identities, database); err != nil {
		_ = b.Close()
		return nil, err
	}
	return s, nil
}

func (e *Env) lookInto(ctx context.Context, s *fileSource, g *getting, scope bucket.Scope, identities []age.Identity, database string) error {
	want, err := g.which.wanted(scope.Namespace, scope.Name, g.uid)
	if err != nil {
		return err
	}
	head, err := e.chooseHead(ctx, s.bucket, want)
	if err != nil {
		return err
	}
	if _, s.record, err = s.bucket.Record(ctx, head); err != nil {
		return explainBucket(ctx, "read the record", err)
	}
	id, err := whereFiles(s.record)
	if err != nil {
		return err
	}
	if s.image = g.image; s.image == "" {
		if s.image = extract.ImageOf(s.record); s.image == "" {
			return exit.Errorf(exit.Refused, "the record of backup %s/%s does not say which image CouchDB ran; give one that reads its files (CouchDB %s) with --image", s.record.Namespace, s.record.Name, s.record.CouchDB)
		}
	}
	key, err := e.repositoryKey(ctx, &seen{bucket: s.bucket}, id, identities)
	if err != nil {
		return err
	}
	if s.repository, err = repo.Open(ctx, s.bucket.Objects(), id, key, repo.Options{}); err != nil {
		return explainBucket(ctx, "open repository "+id, err)
	}
	for _, n := range s.record.Nodes {
		t, err := s.repository.Tree(ctx, n.File.Tree)
		if err != nil {
			return explainBucket(ctx, "read the list of the files of "+n.Service, err)
		}
		s.trees = append(s.trees, extract.Held{Name: n.File.Tree, Tree: t})
	}
	d, notes, err := extract.Find(s.record, s.trees, database)
	var missing *extract.Missing
	switch {
	case errors.As(err, &missing):
		return exit.Errorf(exit.Refused, "backup %s/%s: %w", s.record.Namespace, s.record.Name, err)
	case err != nil:
		return exit.Errorf(exit.Refused, "backup %s/%s: %w; choose another backup (`kubectl cht catalog list`)", s.record.Namespace, s.record.Name, err)
	}
	for _, n := range notes {
		e.note("%s", n)
	}
	s.database = d
	return nil
}

// whereFiles gives the repository in which all of a record's files are, or refuses.
func whereFiles(record catalog.Record) (string, error) {
	ids := repositoriesOf(record)
	var without, methods []string
	for _, n := range record.Nodes {
		if n.File == nil || !n.File.Complete {
			method := n.Method
			if method == "" {
				method = api.MethodCSI
			}
			if without = append(without, n.Service); !slices.Contains(methods, string(method)) {
				methods = append(methods, string(method))
			}
		}
	}
	what := record.Namespace + "/" + record.Name
	switch {
	case len(without) > 0:
		return "", exit.Errorf(exit.Refused, "backup %s (method %s) has no copy of the files of %s in the catalog: only what method File, or spec.file.copy, copied there can be read without a restore; restore the one database from its snapshot instead: kubectl cht restore --from %s --database NAME",
			what, strings.Join(methods, ", "), strings.Join(without, ", "), what)
	case len(ids) != 1:
		return "", exit.Errorf(exit.Refused, "the files of backup %s are in %d repositories, which no backup of this program is; choose another", what, len(ids))
	}
	return ids[0], nil
}

// tellingBytes says from time to time how far the sending of files is. Each node's are
// sent after the other's.
func (e *Env) tellingBytes(database string) func(transfer.Progress) {
	begun := e.Now()
	last, total := begun, int64(-1)
	return func(p transfer.Progress) {
		now := e.Now()
		if p.Total != total && p.Done == 0 {
			begun, total = now, p.Total
		}
		if now.Sub(last) < 5*time.Second {
			return
		}
		last = now
		e.note("database %s: %s", database, p.Text(0, now.Sub(begun)))
	}
}
