package repo

import (
	"context"
	"errors"

	"filippo.io/age"

	"github.com/medic/cht-backup/snapshot/file/transfer"
	"github.com/medic/cht-backup/snapshot/file/tree"
)

var errSoon = errors.New("not yet made")

// SealKey puts the key into the bucket, sealed to recipients. The same again is good.
func (r *Repository) SealKey(ctx context.Context, recipients ...age.Recipient) error { return errSoon }

// UnsealKey reads a repository's key from the bucket with an identity of whom it is
// sealed to.
func UnsealKey(ctx context.Context, objects Objects, id string, identities ...age.Identity) (Key, error) {
	return Key{}, errSoon
}

// List gives the IDs of the repositories in a bucket.
func List(ctx context.Context, objects Objects) ([]string, error) { return nil, errSoon }

func (r *Repository) putRoot(ctx context.Context) error   { return errSoon }
func (r *Repository) checkRoot(ctx context.Context) error { return errSoon }

// Trees gives the names of all trees, in the order of their times.
func (r *Repository) Trees(ctx context.Context) ([]TreeName, error) { return nil, errSoon }

// Tree reads one node's tree.
func (r *Repository) Tree(ctx context.Context, name string) (tree.Tree, error) {
	return tree.Tree{}, errSoon
}

// Read gives chunks in their order, unsealed and still compressed.
func (r *Repository) Read(ctx context.Context, chunks []tree.Chunk, yield func(transfer.Frame) error) error {
	return errSoon
}

// DeleteTree deletes a tree. One that is gone is good. ErrKept if the store refuses: then
// it stays, as does what it needs.
func (r *Repository) DeleteTree(ctx context.Context, name string) error { return errSoon }

// Collected is what a collection did.
type Collected struct {
	// Deleted packs, and their bytes.
	Deleted int
	Bytes   int64
	// Waiting are packs that no tree names and that are deleted once those who were
	// writing when that was seen have ended.
	Waiting int
	// Kept are packs that the store did not let be deleted, and Why one of them.
	Kept int
	Why  string
}

// Collect deletes packs that no tree needs. It may be called beside sessions and beside
// other collections; it deletes what it found once those who were writing then have
// ended: so it is to be called again from time to time.
func (r *Repository) Collect(ctx context.Context) (Collected, error) { return Collected{}, errSoon }

// Progress of a check.
type Progress struct {
	// Done and Total are bytes that are read, of packs and trees.
	Done, Total int64
}

// Damage is an object that is not as it was written.
type Damage struct {
	// Key of the object, Reason what is wrong with it.
	Key, Reason string
	// Trees that need it, and some of the files in them.
	Trees []string
	Files []string
}

// Report of a check.
type Report struct {
	Trees, Packs, Chunks int
	// Bytes of the packs that trees name.
	Bytes int64
	// Unused packs that no tree names, and their bytes.
	Unused      int
	UnusedBytes int64
	Damaged     []Damage
}

// Check reads all trees and compares what they name with what is there; with readData it
// reads and compares every chunk as well. What is damaged is told in the report; an error
// is of a check that could not be made.
func (r *Repository) Check(ctx context.Context, readData bool, progress func(Progress)) (Report, error) {
	return Report{}, errSoon
}

// Session is one writing to a repository.
type Session struct{ repo *Repository }

var _ transfer.Writer = (*Session)(nil)

// Begin begins to write: writer is the UID of the Backup, nodes are those whose trees
// will be committed, and bases the names of earlier trees whose chunks are used again. A
// base that is gone or damaged is left out and told by Warnings.
func (r *Repository) Begin(ctx context.Context, writer string, nodes, bases []string) (*Session, error) {
	return nil, errSoon
}

// Warnings tells what could not be used again, and why.
func (s *Session) Warnings() []error { return nil }

// HashKey implements transfer.Writer, as do the following.
func (s *Session) HashKey() tree.HashKey { return s.repo.HashKey() }

// Known gives the chunks of a file in the base of that node.
func (s *Session) Known(node, path string) []tree.Chunk { return nil }

// Find gives a chunk that is there.
func (s *Session) Find(id tree.ID) (tree.Chunk, bool) { return tree.Chunk{}, false }

// Put takes a chunk.
func (s *Session) Put(ctx context.Context, f transfer.Frame) (tree.Chunk, error) {
	return tree.Chunk{}, errSoon
}

// Commit writes a tree.
func (s *Session) Commit(ctx context.Context, t tree.Tree) (string, error) { return "", errSoon }

// Sent is how many bytes were written.
func (s *Session) Sent() int64 { return 0 }

// Close ends the session. It must be called, whatever became of it.
func (s *Session) Close(ctx context.Context) error { return errSoon }
