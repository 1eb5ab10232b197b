package node

import (
	"context"
	"errors"

	"github.com/medic/cht-backup/snapshot/file/transfer"
	"github.com/medic/cht-backup/snapshot/file/tree"
)

// Node is the files of one CouchDB node, to be copied.
type Node struct{}

// Open opens the directories; it looks at no file yet.
func Open(l Layout) (*Node, error) { return nil, errors.ErrUnsupported }

// Prepare walks the volume, opens what will be copied, and checks that there are
// descriptors and space enough. Again, it looks at what changed: called right before the
// nodes are held, it leaves little to Measure.
func (n *Node) Prepare(ctx context.Context) (Survey, error) { return Survey{}, errors.ErrUnsupported }

// Measure makes the cut, while CouchDB is held still. It gives up when ctx ends, and can
// then be called again. A cut that was made before is given up for this one.
func (n *Node) Measure(ctx context.Context) (Measured, error) {
	return Measured{}, errors.ErrUnsupported
}

// State tells how far it is.
func (n *Node) State() State { return State{} }

// Source gives the files of the cut of that name (Measured.Cut), with the IDs of a
// repository. Closing it closes the node.
func (n *Node) Source(cut string, key tree.HashKey) (transfer.Source, error) {
	return nil, errors.ErrUnsupported
}

// Close lets all files go.
func (n *Node) Close() error { return nil }
