package restore

import (
	"context"
	"errors"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/restore/verify"
	"github.com/medic/cht-backup/snapshot/await"
	"github.com/medic/cht-backup/snapshot/catalog"
	"github.com/medic/cht-backup/snapshot/cht"
	"github.com/medic/cht-backup/snapshot/reason"
)

// startCouchDB starts CouchDB alone, gives it its new names, finds out whether
// every shard is where it belongs, and only then writes the shard maps. Nothing
// reads a database before that: CouchDB would make an empty shard in place of a
// missing one.
func (r *Reconciler) startCouchDB(ctx context.Context, w *work) error {
	restore, record := w.restore, w.record
	if err := r.dropRotation(ctx, w); err != nil { // it is on the volumes and in the CHT's Secret now
		return err
	}
	if err := r.scale(ctx, w.target, cht.IsCouchDB, true); err != nil {
		return err
	}
	if err := oneTurn(ctx, func(ctx context.Context) error { return r.couchReady(ctx, restore, len(record.Nodes)) }); err != nil {
		return err
	}
	var c couch
	if err := retry(ctx, func() (err error) {
		c, err = r.connect(ctx, w)
		return err
	}); err != nil {
		return err
	}
	if err := c.holdReplication(ctx, w); err != nil {
		return err
	}
	if err := c.join(ctx); err != nil {
		return err
	}
	plan, err := c.plan(ctx, record)
	if err != nil {
		return err
	}
	for _, text := range plan.Notes {
		note(restore, text)
	}
	if len(plan.Missing) > 0 {
		v := api.Verification{Shards: int32(plan.Shards), Databases: int32(len(plan.Maps)), Problems: plan.Missing} //nolint:gosec // far below
		_ = verify.Judge(&v, 0)
		restore.Status.Verification = &v
		err := reason.Refuse(api.ReasonShardsMissing, "%s (%d shards are missing in all): a volume is empty, on the wrong node, or of another backup. No component was started", plan.Missing[0], len(plan.Missing))
		return errors.Join(err, r.recordVerified(ctx, w, v, err))
	}
	return c.writeMaps(ctx, plan.Maps)
}

// plan looks at every node's disk and decides which databases there are.
func (c couch) plan(ctx context.Context, record catalog.Record) (shardPlan, error) {
	files, err := c.files(ctx)
	if err != nil {
		return shardPlan{}, err
	}
	names, services := map[string]string{}, map[string]string{}
	for i, node := range record.Nodes {
		names[node.ErlangName], services[c.names[i]] = c.names[i], node.Service
	}
	if record.FromTags {
		return rebuildShards(services, files, record.CutTime), nil
	}
	plan, err := planShards(record.Before.ShardMaps, record.After.ShardMaps, names, services, files)
	if err != nil {
		return plan, reason.Refuse(api.ReasonShardsMissing, "%w", err)
	}
	return plan, nil
}

func (r *Reconciler) couchReady(ctx context.Context, restore *api.Restore, nodes int) error {
	var pods corev1.PodList
	return await.List(ctx, r.Client, &pods, func() (string, error) {
		ready, waiting := 0, "CouchDB pods"
		for _, pod := range pods.Items {
			if !cht.IsCouchDB(pod.Labels[cht.ServiceLabel]) || pod.DeletionTimestamp != nil {
				continue
			}
			if cht.Ready(&pod) {
				ready++
			} else {
				waiting = fmt.Sprintf("pod %s (%s)", pod.Name, podTrouble(pod))
			}
		}
		if ready >= nodes {
			return "", nil
		}
		return waiting, nil
	}, client.InNamespace(restore.Namespace), client.HasLabels{cht.ServiceLabel})
}
