package transfer

import (
	"context"

	"github.com/medic/cht-backup/snapshot/file/tree"
)

// Writer is a repository that one backup is being written to. All methods may be called
// at once.
type Writer interface {
	// HashKey is the key of the repository's IDs.
	HashKey() tree.HashKey
	// Known are the chunks of the file of that path as an earlier backup of that node has
	// it; nil for none.
	Known(node, path string) []tree.Chunk
	// Find gives a chunk that is in the repository, whatever file it is of.
	Find(id tree.ID) (tree.Chunk, bool)
	// Put takes a chunk and tells where it will lie; with one that is there, it tells that.
	// It waits while too much is on its way, and has no more of the frame when it returns.
	Put(ctx context.Context, f Frame) (tree.Chunk, error)
	// Commit has all chunks of the tree in the repository, then the tree, and gives its
	// name. Until then nothing of it is there, and what was put is found again by a later
	// backup. It is given once for each node.
	Commit(ctx context.Context, t tree.Tree) (name string, err error)
	// Sent is how many bytes were written until now.
	Sent() int64
}

// Reader is a repository that is read.
type Reader interface {
	HashKey() tree.HashKey
	// Tree reads one node's tree.
	Tree(ctx context.Context, name string) (tree.Tree, error)
	// Read gives the chunks in their order, unsealed and still compressed, of which the
	// receiver checks the ID. It reads ahead within its budget. The error of one that is
	// not there, or not as it was written, names the pack.
	Read(ctx context.Context, chunks []tree.Chunk, yield func(Frame) error) error
}
