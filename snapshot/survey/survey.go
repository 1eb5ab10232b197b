package survey

import (
	"context"
	"net/http"
	"slices"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/snapshot/catalog"
	"github.com/medic/cht-backup/snapshot/couchdb"
	"github.com/medic/cht-backup/snapshot/reason"
)

// Node is one that is asked.
type Node struct {
	// Service is what it is called in errors.
	Service, URL string
	Transport    http.RoundTripper
}

// Instance is what is asked, in words of where it runs.
type Instance struct {
	Nodes          []Node
	User, Password string
	// Credentials says where user and password stand, Members where the nodes were
	// found: "secret cht-couchdb-credentials", "the pods in medic".
	Credentials, Members string
}

// Cluster is a CouchDB cluster under its nodes' own names.
type Cluster struct {
	// First is the first of the instance's nodes, Version what it runs.
	First   *couchdb.Client
	Version string
	// Names are Erlang's, in the order of the instance's nodes.
	Names []string
}

// Join asks every node who it is, and refuses unless the nodes found are the whole
// cluster: a member that was not found is data that would be missed.
func Join(ctx context.Context, i Instance) (Cluster, error) {
	var c Cluster
	for n, node := range i.Nodes {
		client := couchdb.New(node.URL, i.User, i.Password, node.Transport)
		name, err := client.NodeName(ctx)
		if err != nil {
			return c, i.unavailable(node.Service, err)
		}
		if maintenance, err := client.InMaintenance(ctx); err != nil {
			return c, i.unavailable(node.Service, err)
		} else if maintenance {
			return c, reason.Refuse(api.ReasonCouchDBUnavailable, "%s is in maintenance mode, in which CouchDB hides databases; end it, then back up", node.Service)
		}
		c.Names = append(c.Names, name)
		if n == 0 {
			c.First = client
			if c.Version, err = client.Version(ctx); err != nil {
				return c, i.unavailable(node.Service, err)
			}
		}
	}
	members, err := c.First.Membership(ctx)
	if err != nil {
		return c, i.unavailable(i.Nodes[0].Service, err)
	}
	want := slices.Sorted(slices.Values(c.Names))
	for what, names := range map[string][]string{"cluster_nodes": members.ClusterNodes, "all_nodes": members.AllNodes} {
		if got := slices.Sorted(slices.Values(names)); !slices.Equal(got, want) {
			return c, reason.Refuse(api.ReasonInstanceIncomplete,
				"CouchDB's %s are %v, but %s are %v; a backup must hold every member. Start or remove the others", what, got, i.Members, want)
		}
	}
	return c, nil
}

func (i Instance) unavailable(service string, err error) error {
	if couchdb.IsStatus(err, http.StatusUnauthorized) {
		return reason.Refuse(api.ReasonCredentials, "%s refuses the credentials of %s; the password on the volume wins over those, put that there", service, i.Credentials)
	}
	return reason.Failed(api.ReasonCouchDBUnavailable, "%s: %w", service, err)
}

// Take reads the shard maps and the counts, and gives the databases' positions too.
func (c Cluster) Take(ctx context.Context) (catalog.Survey, map[string]couchdb.Info, error) {
	maps, err := c.First.ShardMaps(ctx, "_local")
	if err != nil {
		return catalog.Survey{}, nil, reason.Failed(api.ReasonCouchDBUnavailable, "read shard maps: %w", err)
	}
	names := make([]string, 0, len(maps))
	for name := range maps {
		names = append(names, name)
	}
	slices.Sort(names)
	infos, err := c.First.Infos(ctx, names)
	if err != nil {
		return catalog.Survey{}, nil, reason.Failed(api.ReasonCouchDBUnavailable, "read counts: %w", err)
	}
	for name, m := range maps {
		for node := range m.ByNode {
			if !slices.Contains(c.Names, node) {
				return catalog.Survey{}, nil, reason.Refuse(api.ReasonInstanceIncomplete,
					"database %s has shards on %s, which is no member of the cluster %v; repair its shard map first", name, node, c.Names)
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

// Amount adds up the living documents and the bytes of all databases. bytes is nil
// where CouchDB tells no sizes.
func Amount(infos map[string]couchdb.Info) (documents, bytes *int64) {
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
