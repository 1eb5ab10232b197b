package restore

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/snapshot/cht"
	"github.com/medic/cht-backup/snapshot/couchdb"
	"github.com/medic/cht-backup/snapshot/reason"
)

// couch is the restored CouchDB cluster.
type couch struct {
	names    []string // new Erlang names, in the order of the record's nodes
	services []string
	clients  []*couchdb.Client
}

// connect finds the restored nodes. Their pods must be ready: only then do their
// names resolve for each other.
func (r *Reconciler) connect(ctx context.Context, w *work) (couch, error) {
	record := w.record
	inventory, err := cht.Load(ctx, r.Client, w.restore.Namespace)
	if err != nil {
		return couch{}, err
	}
	instance, err := cht.Discover(inventory)
	if err != nil {
		return couch{}, notYet{err}
	}
	var c couch
	for _, node := range record.Nodes {
		i := slices.IndexFunc(instance.Nodes, func(n cht.Node) bool { return n.Service == node.Service })
		if i < 0 || len(instance.Nodes) != len(record.Nodes) {
			return couch{}, reason.Refuse(api.ReasonObjectsFailed, "the restored namespace has %d CouchDB nodes, the backup %d; %s is missing", len(instance.Nodes), len(record.Nodes), node.Service)
		}
		c.clients = append(c.clients, couchdb.New(instance.Nodes[i].Pod.URL(), instance.User, instance.Password, r.Transport))
		c.names = append(c.names, w.rewrite.erlangName(node.ErlangName))
		c.services = append(c.services, node.Service)
	}
	for i, client := range c.clients {
		name, err := client.NodeName(ctx)
		if couchdb.IsStatus(err, 401) {
			return c, reason.Refuse(api.ReasonCredentials, "%s refuses the credentials of the restored secret %s: the volume has another password; put it into the Secret and delete this restore's pods", c.services[i], cht.CredentialsSecret)
		}
		if err != nil {
			return c, notYet{fmt.Errorf("%s: %w", c.services[i], err)}
		}
		if name != c.names[i] {
			return c, reason.Refuse(api.ReasonForeignMember, "%s calls itself %s and not %s", c.services[i], name, c.names[i])
		}
	}
	return c, nil
}

// notYet is an error that time may heal.
type notYet struct{ error }

func (e notYet) Unwrap() error { return e.error }

// retry calls do until it succeeds, fails for good, or ctx ends. It serves for
// what CouchDB does by itself and tells nobody of.
func retry(ctx context.Context, do func() error) error {
	backoff := wait.Backoff{Duration: 100 * time.Millisecond, Factor: 1.5, Cap: 2 * time.Second, Steps: 1 << 30}
	var last error
	err := wait.ExponentialBackoffWithContext(ctx, backoff, func(context.Context) (bool, error) {
		last = do()
		var wait notYet
		if errors.As(last, &wait) {
			return false, nil
		}
		return last == nil, last
	})
	if ctx.Err() != nil && last != nil {
		return fmt.Errorf("waiting: %w", errors.Join(last, ctx.Err()))
	}
	return err
}

// holdReplication keeps a clone from going on with the source's replications. Where
// the configuration is on the volume, prepare-volume has done that for good; else it
// holds until CouchDB starts again.
func (c couch) holdReplication(ctx context.Context, w *work) error {
	if !w.isClone() {
		return nil
	}
	for i, node := range w.record.Nodes {
		if node.ConfigOnVolume {
			continue
		}
		if err := retry(ctx, func() error {
			if err := c.clients[i].Configure(ctx, "replicator", "max_jobs", "0"); err != nil {
				return notYet{fmt.Errorf("hold the replications of %s: %w", c.services[i], err)}
			}
			return nil
		}); err != nil {
			return err
		}
	}
	return nil
}

// join makes the nodes one cluster under their new names, and watches that no
// other name appears: that would be the source, and the clone about to join it.
func (c couch) join(ctx context.Context) error {
	first := c.clients[0]
	for _, name := range c.names {
		if len(c.names) == 1 {
			break // one node is its own cluster
		}
		if err := c.foreign(ctx); err != nil {
			return err
		}
		if err := retry(ctx, func() error {
			if err := first.AddNode(ctx, name); err != nil {
				return notYet{fmt.Errorf("add node %s: %w", name, err)}
			}
			return nil
		}); err != nil {
			return err
		}
	}
	want := slices.Sorted(slices.Values(c.names))
	return retry(ctx, func() error {
		if err := c.foreign(ctx); err != nil {
			return err
		}
		for i, client := range c.clients {
			m, err := client.Membership(ctx)
			if err != nil {
				return notYet{err}
			}
			if !slices.Equal(slices.Sorted(slices.Values(m.AllNodes)), want) || !slices.Equal(slices.Sorted(slices.Values(m.ClusterNodes)), want) {
				return notYet{fmt.Errorf("%s sees all_nodes %v and cluster_nodes %v, not yet %v", c.services[i], m.AllNodes, m.ClusterNodes, want)}
			}
		}
		return nil
	})
}

// foreign refuses when any node knows of a member that is not of this restore.
func (c couch) foreign(ctx context.Context) error {
	for i, client := range c.clients {
		m, err := client.Membership(ctx)
		if err != nil {
			return nil // judged by those who need the answer
		}
		for _, name := range slices.Concat(m.AllNodes, m.ClusterNodes) {
			if !slices.Contains(c.names, name) {
				return reason.Refuse(api.ReasonForeignMember,
					"%s knows the member %s, which is not of this restore: the copy may be about to join its source. CouchDB was stopped; look at both clusters' _membership before anything else", c.services[i], name)
			}
		}
	}
	return nil
}

// files lists the shard files on every node's disk.
func (c couch) files(ctx context.Context) (map[string]map[string]bool, error) {
	files := map[string]map[string]bool{}
	for i, name := range c.names {
		var list []string
		err := retry(ctx, func() (err error) {
			if list, err = c.clients[0].LocalDatabases(ctx, name); err != nil {
				return notYet{fmt.Errorf("list shards of %s: %w", c.services[i], err)} // a 409 was seen right after joining
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
		files[name] = map[string]bool{}
		for _, file := range list {
			if strings.HasPrefix(file, "shards/") {
				files[name][file] = true
			}
		}
	}
	return files, nil
}

// writeMaps writes all maps through the first node and waits until every node
// has them.
func (c couch) writeMaps(ctx context.Context, maps []couchdb.ShardMap) error {
	err := retry(ctx, func() error {
		if err := c.clients[0].PutShardMaps(ctx, maps); err != nil {
			return notYet{fmt.Errorf("write shard maps: %w", err)}
		}
		return nil
	})
	if err != nil {
		return err
	}
	return retry(ctx, func() error {
		for i, name := range c.names {
			there, err := c.clients[0].ShardMaps(ctx, name)
			if err != nil {
				return notYet{fmt.Errorf("read shard maps of %s: %w", c.services[i], err)}
			}
			for _, m := range maps {
				if got, ok := there[m.ID]; !ok || !got.SamePlaces(m) {
					return notYet{fmt.Errorf("%s does not have the shard map of %s yet", c.services[i], m.ID)}
				}
			}
		}
		return nil
	})
}
