// Package transfer moves files between a node and a repository: a backup reads a
// Source, a restore fills a Sink. It knows neither what lies behind them nor anything of
// Kubernetes, holds no more in memory than its budget, and tells how far it is.
package transfer

import (
	"context"
	"errors"

	"github.com/medic/cht-backup/snapshot/file/tree"
)

// Frame is one chunk on its way.
type Frame struct {
	tree.Piece
	// Data is its content, compressed with zstd. It is the receiver's, until he gives back
	// the room that it lies in.
	Data []byte
	// Room is that; nil for none.
	Room *Room
}

// ErrShort is the error of a file that has become shorter than it was at the cut.
var ErrShort = errors.New("the file is shorter than it was at the cut")

// Source is one node's files as they were measured at the cut. All methods may be
// called at once.
type Source interface {
	// Files are what was measured, sorted by path. A file's place in it is its number.
	Files(ctx context.Context) ([]tree.Meta, error)
	// Match tells how many of the pieces, from the first on, the file still begins with.
	Match(ctx context.Context, file int, known []tree.Piece) (int, error)
	// Read gives the file's chunks in order, from that byte on to its measured size.
	// ErrShort if there is less.
	Read(ctx context.Context, file int, from int64, yield func(Frame) error) error
	// Close lets the files go.
	Close(ctx context.Context) error
}

// Sink is one node's volume that is being filled. All methods may be called at once.
type Sink interface {
	// Begin says what will be filled, and gives the numbers of files that an earlier,
	// interrupted filling of the same tree has completed.
	Begin(ctx context.Context, files []tree.Meta, key tree.HashKey) (done []int, err error)
	// Put writes a file: it takes frames in order from next until that gives io.EOF,
	// compares each with its ID, and has the file whole before it returns; on disk, and
	// among those that Begin tells as done, some time later, since waiting for the disk
	// once for many small files is what makes them quick. What it could not write whole is
	// not there.
	Put(ctx context.Context, file int, next func() (Frame, error)) error
	// Finish says that all files are there, and has them on disk before it returns.
	Finish(ctx context.Context) error
}
