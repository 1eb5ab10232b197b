package compose

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/snapshot/compose/pause"
	"github.com/medic/cht-backup/snapshot/file/node"
	"github.com/medic/cht-backup/snapshot/reason"
)

// attempts at a cut: something may continue CouchDB meanwhile, or a busy machine may take
// longer than a pause may last.
const attempts = 3

// cut is one point in time of all nodes.
type cut struct {
	stall    pause.Stall
	measured []node.Measured
}

// open opens the directories of all nodes.
func open(i Instance) (nodes []*node.Node, err error) {
	for _, n := range i.Nodes {
		opened, err := node.Open(node.Layout{Data: n.Data, Config: n.Config, HasConfig: n.Config != ""})
		if err != nil {
			closeAll(nodes)
			return nil, fmt.Errorf("%s: %w", n.Compose, err)
		}
		nodes = append(nodes, opened)
	}
	return nodes, nil
}

func closeAll(nodes []*node.Node) {
	for _, n := range nodes {
		_ = n.Close() // only read
	}
}

// makeCut holds all nodes and measures their files: nothing is measured before all are
// stopped, none is continued before all are measured.
func makeCut(ctx context.Context, g pause.Guard, i Instance, nodes []*node.Node, bound time.Duration) (c cut, err error) {
	for range attempts {
		if err := prepare(ctx, i, nodes); err != nil {
			return c, err
		}
		c.measured = make([]node.Measured, len(nodes))
		c.stall, err = pause.Hold(ctx, g, i.processes(), bound, func(ctx context.Context) error {
			group, within := errgroup.WithContext(ctx)
			for k, n := range nodes {
				group.Go(func() (err error) {
					if c.measured[k], err = n.Measure(within); err != nil {
						return fmt.Errorf("%s: %w", i.Nodes[k].Compose, err)
					}
					return nil
				})
			}
			return group.Wait()
		})
		if err == nil {
			return c, nil
		}
		if !errors.Is(err, pause.ErrLost) && !errors.Is(err, context.DeadlineExceeded) || ctx.Err() != nil {
			break
		}
	}
	return c, reason.Refuse(api.ReasonQuiesceLost, "CouchDB could not be held still for the cut: %w", err)
}

// prepare opens what will be copied while CouchDB works, twice: the second walk leaves
// little to the one that CouchDB waits for.
func prepare(ctx context.Context, i Instance, nodes []*node.Node) error {
	for range 2 {
		for k, n := range nodes {
			if _, err := n.Prepare(ctx); err != nil {
				return fmt.Errorf("%s: %w", i.Nodes[k].Compose, err)
			}
		}
	}
	return nil
}
