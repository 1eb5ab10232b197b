// Package engine is the product's copying of files without its controller, for
// benchmarks. In: directories of CouchDB nodes on this machine. Out: a repository in a
// directory, and what each backup of theirs sent and took. It holds no node still.
package engine

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/medic/cht-backup/snapshot/catalog/bucket"
	"github.com/medic/cht-backup/snapshot/file/node"
	"github.com/medic/cht-backup/snapshot/file/repo"
	"github.com/medic/cht-backup/snapshot/file/transfer"
)

// As in the controller.
const (
	budget   = 32 << 20
	packSize = 8 << 20
)

// Options are what the product always has on.
type Options struct {
	Unsealed   bool
	Compressed node.Compression
}

// Repository is one in a directory.
type Repository struct {
	o      Options
	bucket *bucket.Bucket
	repo   *repo.Repository
	trees  []string // of the last backup
}

// Create makes an empty one; the directory may be new.
func Create(ctx context.Context, dir string, o Options) (*Repository, error) {
	b, err := bucket.Open(ctx, "file://"+dir)
	if err != nil {
		return nil, err
	}
	key, err := repo.NewKey()
	if err != nil {
		return nil, errors.Join(err, b.Close())
	}
	id := repo.NewID()
	if err := repo.Create(ctx, b.Objects(), id, key); err != nil {
		return nil, errors.Join(err, b.Close())
	}
	r, err := repo.Open(ctx, b.Objects(), id, key, repo.Options{Unsealed: o.Unsealed, Budget: budget, PackSize: packSize})
	if err != nil {
		return nil, errors.Join(err, b.Close())
	}
	return &Repository{o: o, bucket: b, repo: r}, nil
}

// Close lets it go. What is in it stays.
func (r *Repository) Close() error { return r.bucket.Close() }

// Cost of one backup.
type Cost struct {
	Files             int
	Size, Sent        int64 // bytes of the files, bytes that were written
	Measured, Copied  time.Duration
	Dropped, Warnings int
}

// Backup copies the data directories of nodes, one after the other, with the last
// backup to build on.
func (r *Repository) Backup(ctx context.Context, dirs []string) (c Cost, err error) {
	began := time.Now()
	names := make([]string, len(dirs))
	for i := range dirs {
		names[i] = fmt.Sprintf("couchdb-%d", i+1)
	}
	session, err := r.repo.Begin(ctx, "00000000-0000-4000-8000-000000000000", names, r.trees)
	if err != nil {
		return c, err
	}
	defer func() { err = errors.Join(err, session.Close(context.WithoutCancel(ctx))) }()
	c.Warnings = len(session.Warnings())
	var trees []string
	for i, dir := range dirs {
		tree, err := r.one(ctx, session, names[i], dir, &c)
		if err != nil {
			return c, err
		}
		trees = append(trees, tree)
	}
	r.trees, c.Sent, c.Copied = trees, session.Sent(), time.Since(began)-c.Measured
	return c, nil
}

func (r *Repository) one(ctx context.Context, session *repo.Session, name, dir string, c *Cost) (tree string, err error) {
	n, err := node.Open(node.Layout{Data: dir})
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, n.Close()) }()
	if _, err := n.Prepare(ctx); err != nil {
		return "", err
	}
	m, err := n.Measure(ctx)
	if err != nil {
		return "", err
	}
	source, err := n.SourceWith(m.Cut, r.repo.HashKey(), r.o.Compressed)
	if err != nil {
		return "", err
	}
	t, tree, err := transfer.Backup(ctx, source, session, name, transfer.Options{})
	c.Measured += m.Took
	c.Files, c.Size, c.Dropped = c.Files+len(t.Files), c.Size+t.Size(), c.Dropped+len(t.Dropped)
	return tree, err
}

// Restore fills an empty directory with the first node of the last backup.
func (r *Repository) Restore(ctx context.Context, dir string) (took time.Duration, err error) {
	if len(r.trees) == 0 {
		return 0, errors.New("there is no backup to restore")
	}
	began := time.Now()
	f, err := node.Fill(node.Layout{Data: dir}, r.trees[0])
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	_, err = transfer.Restore(ctx, r.repo, r.trees[0], f, transfer.Options{})
	return time.Since(began), err
}
