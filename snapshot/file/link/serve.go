package link

import (
	"context"
	"errors"
	"io"
	"time"

	"github.com/medic/cht-backup/snapshot/file/node"
	"github.com/medic/cht-backup/snapshot/file/transfer"
	"github.com/medic/cht-backup/snapshot/file/tree"
)

// Port that copiers and fillers listen on.
const Port = 7443

// Files is what a copier serves: *node.Node.
type Files interface {
	Prepare(ctx context.Context) (node.Survey, error)
	Measure(ctx context.Context) (node.Measured, error)
	State() node.State
	Source(cut string, key tree.HashKey) (transfer.Source, error)
}

// ServeOptions of both servers.
type ServeOptions struct {
	// Address to listen on; "" for Port on all addresses.
	Address string
	// Socket is a unix socket for admissions, in a directory of the container that nobody
	// else writes to.
	Socket string
	// Idle ends the server when it has had nothing to do for so long: the controller is
	// gone, and what is held is in the way.
	Idle time.Duration
}

// ErrIdle is why a server ended that nobody asked for anything.
var ErrIdle = errors.New("no request came, the controller is gone")

// ServeCopier serves a node's files until they are let go.
func ServeCopier(ctx context.Context, files Files, o ServeOptions) error {
	return errors.ErrUnsupported
}

// ServeFiller serves a volume until it is finished.
func ServeFiller(ctx context.Context, sink transfer.Sink, o ServeOptions) error {
	return errors.ErrUnsupported
}

// Admit carries one admission between the exec stream it is run in and the server behind
// the socket.
func Admit(ctx context.Context, socket string, in io.Reader, out io.Writer) error {
	return errors.ErrUnsupported
}
