package snapshot

import (
	"context"
	"slices"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/snapshot/catalog"
	"github.com/medic/cht-backup/snapshot/cht"
	"github.com/medic/cht-backup/snapshot/couchdb"
	"github.com/medic/cht-backup/snapshot/reason"
)

// cluster is a CouchDB cluster under its nodes' own names.
type cluster struct {
	first   *couchdb.Client
	version string
	names   []string // Erlang names, in the order of the instance's nodes
}

// joinCluster asks every node who it is, and refuses unless the pods found are
// the whole cluster: a member without a pod is a volume that would be missed.
func (r *Reconciler) joinCluster(ctx context.Context, instance cht.Instance) (cluster, error) {
	var c cluster
	for i, n := range instance.Nodes {
		node := couchdb.New(n.Pod.URL(), instance.User, instance.Password, r.Transport)
		name, err := node.NodeName(ctx)
		if err != nil {
			return c, unavailable(n.Service, err)
		}
		if maintenance, err := node.InMaintenance(ctx); err != nil {
			return c, unavailable(n.Service, err)
		} else if maintenance {
			return c, reason.Refuse(api.ReasonCouchDBUnavailable, "%s is in maintenance mode, in which CouchDB hides databases; end it, then back up", n.Service)
		}
		c.names = append(c.names, name)
		if i == 0 {
			c.first = node
			if c.version, err = node.Version(ctx); err != nil {
				return c, unavailable(n.Service, err)
			}
		}
	}
	members, err := c.first.Membership(ctx)
	if err != nil {
		return c, unavailable(instance.Nodes[0].Service, err)
	}
	want := slices.Sorted(slices.Values(c.names))
	for what, names := range map[string][]string{"cluster_nodes": members.ClusterNodes, "all_nodes": members.AllNodes} {
		if got := slices.Sorted(slices.Values(names)); !slices.Equal(got, want) {
			return c, reason.Refuse(api.ReasonInstanceIncomplete,
				"CouchDB's %s are %v, but the pods in %s are %v; a backup must hold every member. Start or remove the others", what, got, instance.Namespace, want)
		}
	}
	return c, nil
}

func unavailable(service string, err error) error {
	if couchdb.IsStatus(err, 401) {
		return reason.Refuse(api.ReasonCredentials, "%s refuses the credentials of secret %s; the password on the volume wins over the Secret, put that into the Secret", service, cht.CredentialsSecret)
	}
	return reason.Failed(api.ReasonCouchDBUnavailable, "%s: %w", service, err)
}

// survey reads the shard maps and the counts, and gives the databases' positions
// too. Never under a hold: it reads databases.
func (c cluster) survey(ctx context.Context) (catalog.Survey, map[string]couchdb.Info, error) {
	maps, err := c.first.ShardMaps(ctx, "_local")
	if err != nil {
		return catalog.Survey{}, nil, reason.Failed(api.ReasonCouchDBUnavailable, "read shard maps: %w", err)
	}
	names := make([]string, 0, len(maps))
	for name := range maps {
		names = append(names, name)
	}
	slices.Sort(names)
	infos, err := c.first.Infos(ctx, names)
	if err != nil {
		return catalog.Survey{}, nil, reason.Failed(api.ReasonCouchDBUnavailable, "read counts: %w", err)
	}
	for name, m := range maps {
		for node := range m.ByNode {
			if !slices.Contains(c.names, node) {
				return catalog.Survey{}, nil, reason.Refuse(api.ReasonInstanceIncomplete,
					"database %s has shards on %s, which is no member of the cluster %v; repair its shard map first", name, node, c.names)
			}
		}
	}
	if len(maps) == 0 {
		return catalog.Survey{}, nil, reason.Refuse(api.ReasonInstanceIncomplete, "CouchDB has no databases, not even _users: the instance is not set up yet")
	}
	counts, sequences := make(map[string]couchdb.Counts, len(infos)), make(map[string]int64, len(infos))
	for name, info := range infos {
		counts[name] = info.Counts
		if n, ok := info.Sequence(); ok {
			sequences[name] = n
		}
	}
	return catalog.Survey{ShardMaps: maps, Counts: counts, Sequences: sequences}, infos, nil
}

// amount adds up the living documents and the bytes of all databases. bytes is nil
// where CouchDB tells no sizes.
func amount(infos map[string]couchdb.Info) (documents, bytes *int64) {
	documents, bytes = new(int64), new(int64)
	for _, info := range infos {
		*documents += info.Documents
		*bytes += info.FileBytes
	}
	if *bytes == 0 { // an empty shard has a header
		bytes = nil
	}
	return documents, bytes
}
