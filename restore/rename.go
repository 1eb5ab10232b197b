package restore

import (
	"context"
	"fmt"

	"github.com/medic/cht-backup/restore/verify"
	"github.com/medic/cht-backup/snapshot/catalog"
)

// RenameDatabases gives the databases of a record the names of the nodes that they
// lie on now, as a restore does once its nodes are one cluster: it lists the shard
// files of every node, refuses when one is missing, writes the maps, and waits until
// every node has them. It is for those who measure it; nodes go with record.Nodes.
func RenameDatabases(ctx context.Context, nodes verify.Cluster, record catalog.Record) (databases, shards int, err error) {
	c := couch{names: nodes.Names, services: nodes.Services, clients: nodes.Clients}
	plan, err := c.plan(ctx, record)
	if err != nil {
		return 0, 0, err
	}
	if len(plan.Missing) > 0 {
		return 0, plan.Shards, fmt.Errorf("%s (%d shards are missing in all)", plan.Missing[0], len(plan.Missing))
	}
	return len(plan.Maps), plan.Shards, c.writeMaps(ctx, plan.Maps)
}
