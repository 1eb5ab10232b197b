package snapshot

import (
	"context"

	"github.com/medic/cht-backup/snapshot/catalog"
	"github.com/medic/cht-backup/snapshot/cht"
	"github.com/medic/cht-backup/snapshot/couchdb"
	"github.com/medic/cht-backup/snapshot/survey"
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
	asked := survey.Instance{User: instance.User, Password: instance.Password, Credentials: "secret " + cht.CredentialsSecret, Members: "the pods in " + instance.Namespace}
	for _, n := range instance.Nodes {
		asked.Nodes = append(asked.Nodes, survey.Node{Service: n.Service, URL: n.Pod.URL(), Transport: r.Transport})
	}
	c, err := survey.Join(ctx, asked)
	return cluster{first: c.First, version: c.Version, names: c.Names}, err
}

// survey reads the shard maps and the counts, and gives the databases' positions
// too. Never under a hold: it reads databases.
func (c cluster) survey(ctx context.Context) (catalog.Survey, map[string]couchdb.Info, error) {
	return survey.Cluster{First: c.first, Version: c.version, Names: c.names}.Take(ctx)
}

// amount adds up the living documents and the bytes of all databases.
func amount(infos map[string]couchdb.Info) (documents, bytes *int64) { return survey.Amount(infos) }
