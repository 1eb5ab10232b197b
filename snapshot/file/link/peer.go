package link

import (
	"context"
	"errors"
	"io"

	"github.com/medic/cht-backup/snapshot/file/node"
	"github.com/medic/cht-backup/snapshot/file/transfer"
	"github.com/medic/cht-backup/snapshot/file/tree"
)

// Exec runs a command in the pod's container and returns when it has ended. An error of
// the command has what it wrote to its error output.
type Exec func(ctx context.Context, command []string, stdin io.Reader, stdout io.Writer) error

// Peer is a pod to connect to. It runs already.
type Peer struct {
	// Name in errors: "couchdb-2 (pod ns/name)".
	Name string
	Exec Exec
	// IP of the pod.
	IP string
}

// Commands of the pods: what the container runs, and what is run by exec for each
// admission.
var (
	CopierAdmit = []string{"/cht-backup", "copier", "admit"}
	FillerAdmit = []string{"/cht-backup", "fill", "admit"}
)

// ErrLost is the error of a pod that does not answer any more, or does not know us any
// more: it has ended or was started anew, and what it held is gone.
var ErrLost = errors.New("the connection to the pod is lost")

// Copier is a copier pod, as the controller sees it. It may be made again and again for
// the same pod: the newest is the one that the pod listens to, and what the pod has
// measured it still has.
type Copier struct{}

// DialCopier has the pod admit this process, and connects.
func DialCopier(ctx context.Context, p Peer) (*Copier, error) { return nil, errors.ErrUnsupported }

// Prepare has the node's files walked and opened, and what it needs checked. Again, right
// before the nodes are held, it is quick and leaves little to Measure.
func (c *Copier) Prepare(ctx context.Context) (node.Survey, error) {
	return node.Survey{}, errors.ErrUnsupported
}

// Measure makes the cut. Where ctx has a deadline the pod has the same and gives up at
// it; without one it is an error, since nodes are held meanwhile. It is never sent twice.
func (c *Copier) Measure(ctx context.Context) (node.Measured, error) {
	return node.Measured{}, errors.ErrUnsupported
}

// State tells whether the pod has measured, when, and what.
func (c *Copier) State(ctx context.Context) (node.State, error) {
	return node.State{}, errors.ErrUnsupported
}

// Source gives the files of the cut of that name (Measured.Cut). Its Close lets the files
// go, and ends the pod. A connection that breaks is made again, and what is read goes on
// where it was.
func (c *Copier) Source(cut string, key tree.HashKey) transfer.Source { return nil }

// Close closes the connections. The pod keeps what it has.
func (c *Copier) Close() {}

// Filler is a filler pod, as the controller sees it: the volume that it fills. As with a
// Copier, the newest for a pod is the one that counts.
type Filler struct{}

var _ transfer.Sink = (*Filler)(nil)

// DialFiller has the pod admit this process, and connects.
func DialFiller(ctx context.Context, p Peer) (*Filler, error) { return nil, errors.ErrUnsupported }

// Begin implements transfer.Sink.
func (f *Filler) Begin(ctx context.Context, files []tree.Meta, key tree.HashKey) ([]int, error) {
	return nil, errors.ErrUnsupported
}

// Put implements transfer.Sink. A connection that breaks is an error that wraps ErrLost:
// dial again and begin again, what is complete is told then.
func (f *Filler) Put(ctx context.Context, file int, next func() (transfer.Frame, error)) error {
	return errors.ErrUnsupported
}

// Finish implements transfer.Sink. The pod's container then ends with success.
func (f *Filler) Finish(ctx context.Context) error { return errors.ErrUnsupported }

// Close closes the connections. The pod keeps what it has.
func (f *Filler) Close() {}
