package file

import (
	"context"
	"errors"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/medic/cht-backup/snapshot/file/node"
	"github.com/medic/cht-backup/snapshot/file/transfer"
	"github.com/medic/cht-backup/snapshot/file/tree"
)

// Connector reaches copiers.
type Connector interface {
	// Connect has the copier in a pod let this process in, whoever it was that it let in
	// before, and gives a connection.
	Connect(ctx context.Context, pod *corev1.Pod, service string) (Copier, error)
}

// Copier is a connection to the copier beside one node: *link.Copier.
type Copier interface {
	Prepare(ctx context.Context) (node.Survey, error)
	Measure(ctx context.Context) (node.Measured, error)
	State(ctx context.Context) (node.State, error)
	Source(cut string, key tree.HashKey) transfer.Source
	Close()
}

// Repositories are those of this controller's catalog. Their errors bear a reason where
// another try cannot help.
type Repositories interface {
	// For gives the repository that the instance in a namespace is backed up into. It
	// makes it the first time.
	For(ctx context.Context, namespace string) (Repository, error)
	// Open gives the one of that ID.
	Open(ctx context.Context, id string) (Repository, error)
}

// Repository is a repository in the catalog.
type Repository interface {
	transfer.Reader
	ID() string
	// Begin begins to write trees of those nodes for a writer, to which the trees of
	// earlier backups are the bases.
	Begin(ctx context.Context, writer string, nodes, bases []string) (Session, error)
	// Trees are all trees, in the order of their times.
	Trees(ctx context.Context) ([]Tree, error)
	// DeleteTree deletes one. ErrKept where the bucket does not let it.
	DeleteTree(ctx context.Context, name string) error
	// Collect removes what no tree names any more, as far as it may be by now.
	Collect(ctx context.Context) (Collected, error)
}

// Collected is what a collection did.
type Collected struct {
	// Deleted packs, and their bytes.
	Deleted int
	Bytes   int64
	// Waiting are packs that can be deleted later, once who is writing now has ended.
	Waiting int
	// Kept are packs that the bucket did not let be deleted, and Why one of them.
	Kept int
	Why  string
}

// Tree is what a tree's name tells.
type Tree struct {
	Name string
	// Time its session began, by this program's clock.
	Time time.Time
	// Owner is the UID of the Backup that wrote it.
	Owner string
	// Node is the value of cht.service.
	Node string
}

// ErrKept is the error of what a bucket does not let be deleted, now or ever.
var ErrKept = errors.New("the bucket keeps it")

// Session is a repository that one backup is being written to.
type Session interface {
	transfer.Writer
	// Close says that nothing more will be written.
	Close(ctx context.Context) error
}
