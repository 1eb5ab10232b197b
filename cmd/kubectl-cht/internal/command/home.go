package command

import (
	"context"
	"strings"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/medic/cht-backup/snapshot/served"
)

// defaultSystem is where the controller of a whole cluster is by custom.
const defaultSystem = "cht-backup-system"

// askHome bounds the question who serves a namespace: it is for convenience only.
const askHome = 5 * time.Second

// atHome takes the namespace of the controller that serves the first of namespaces that
// has one of its own for the one where the records are, unless the user named it. Who serves a
// namespace says so in a Lease there; one that serves all does not, and is where it is by
// custom.
func (e *Env) atHome(ctx context.Context, c client.Reader, namespaces ...string) {
	if e.SystemNamespace != defaultSystem || e.systemGiven {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, askHome)
	defer cancel()
	for _, n := range namespaces {
		var l coordinationv1.Lease
		if n == "" || c.Get(ctx, client.ObjectKey{Namespace: n, Name: served.LeaseName}, &l) != nil || l.Spec.HolderIdentity == nil {
			continue // nobody's, or not to be seen: what is missed is said where it is missed
		}
		if home, _, ok := strings.Cut(*l.Spec.HolderIdentity, "/"); ok && home != "" {
			e.SystemNamespace = home
			return
		}
	}
}
