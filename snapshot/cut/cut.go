// Package cut holds what a snapshotter hands to the one who holds the nodes: a cut in
// readiness. It does nothing by itself.
package cut

import (
	"context"

	api "github.com/medic/cht-backup/api/v1alpha1"
)

// Prepared is a cut in readiness.
type Prepared struct {
	// Volumes are what will be cut, as far as it is known now. They are written down
	// before the quiesce, so that whoever cleans up knows where to look.
	Volumes []api.VolumeStatus
	// Warm is called last before the quiesce, and does what would be cold again if it
	// were done earlier. It may be nil.
	Warm func(context.Context) error
	// Make fixes the point in time of all volumes at once and returns.
	Make func(context.Context) ([]api.VolumeStatus, error)
	// Done frees what Prepare opened.
	Done func()
}
