package checkup

import "slices"

// scope is where a right is needed.
type scope int

const (
	// served: in every namespace that is served.
	served scope = iota
	// cluster: of a kind that has no namespace.
	cluster
)

// need are rights that belong together, and what for.
type need struct {
	scope     scope
	group     string
	resources []string
	verbs     []string
	// what does not work without them.
	what string
	// optional: a controller with rights in some namespaces alone does without.
	optional bool
}

const (
	ours  = "backup.communityhealthtoolkit.org"
	snaps = "snapshot.storage.k8s.io"
)

// needs are all the rights that the controller's generated role grants, no more and no
// less: a test compares the two.
var needs = []need{
	{served, ours, []string{"backups", "restores"}, []string{"get", "list", "watch", "create", "patch", "update", "delete"}, "anything at all", false},
	{served, ours, []string{"backupschedules"}, []string{"get", "list", "watch"}, "schedules", false},
	{served, ours, []string{"backups/status", "restores/status", "backupschedules/status"}, []string{"get", "patch", "update"}, "anything at all", false},
	{served, ours, []string{"backups/finalizers", "restores/finalizers"}, []string{"update"}, "anything at all, on clusters that check who may block a deletion", false},
	{served, snaps, []string{"volumesnapshots"}, []string{"get", "list", "watch", "create", "patch", "delete", "deletecollection"}, "snapshots of CSI volumes", false},
	{cluster, snaps, []string{"volumesnapshotcontents"}, []string{"get", "list", "watch", "create", "patch", "delete", "deletecollection"}, "snapshots of CSI volumes", false},
	{cluster, snaps, []string{"volumesnapshotclasses"}, []string{"get", "list", "watch"}, "snapshots of CSI volumes", false},
	{served, "", []string{"pods"}, []string{"get", "list", "watch", "create", "update", "patch", "delete", "deletecollection"}, "finding CouchDB, freezing its volumes, and restores", false},
	{served, "", []string{"pods/exec"}, []string{"get", "create"}, "holding writes during a cut", false},
	{served, "", []string{"persistentvolumeclaims"}, []string{"get", "list", "watch", "create", "delete", "deletecollection"}, "finding volumes, and restores", false},
	{cluster, "", []string{"persistentvolumes"}, []string{"get", "list", "watch", "create", "patch", "delete"}, "finding volumes, and restores in place", false},
	{cluster, "", []string{"namespaces"}, []string{"get"}, "restores", false},
	{cluster, "", []string{"namespaces"}, []string{"create", "delete"}, "restores into new namespaces, and drills", true},
	{cluster, "", []string{"nodes"}, []string{"list"}, "restores that choose a zone", false},
	{cluster, "storage.k8s.io", []string{"storageclasses"}, []string{"get", "list"}, "restores", false},
	{cluster, "storage.k8s.io", []string{"csidrivers"}, []string{"get"}, "restores", false},
	{cluster, "storage.k8s.io", []string{"csinodes"}, []string{"list"}, "restores", false},
	{served, "", []string{"secrets"}, []string{"get", "list", "create", "update", "patch", "delete"}, "CouchDB's credentials, records of backups, and restores", false},
	{served, "", []string{"configmaps", "services", "serviceaccounts"}, []string{"get", "list", "create", "delete"}, "records of what an instance consists of, and restores", false},
	{served, "", []string{"configmaps"}, []string{"update"}, "this report", false},
	{served, "rbac.authorization.k8s.io", []string{"roles", "rolebindings"}, []string{"get", "list", "create", "delete"}, "restores of the upgrade service", false},
	{served, "apps", []string{"deployments", "statefulsets"}, []string{"get", "list", "watch", "create", "update", "patch", "delete"}, "restores, and stopping and starting an instance", false},
	{served, "apps", []string{"daemonsets", "replicasets"}, []string{"list"}, "knowing who uses a volume", false},
	{served, "batch", []string{"jobs", "cronjobs"}, []string{"list"}, "knowing who uses a volume", false},
	{served, "policy", []string{"poddisruptionbudgets"}, []string{"get", "list", "create", "delete"}, "restores", false},
	{served, "networking.k8s.io", []string{"ingresses"}, []string{"get", "list", "create", "delete"}, "restores", false},
	{cluster, "networking.k8s.io", []string{"ingressclasses"}, []string{"list"}, "restores that open an ingress", false},
	{served, "networking.k8s.io", []string{"networkpolicies"}, []string{"get", "list", "create", "delete", "deletecollection"}, "isolated clones and drills", false},
	{served, "discovery.k8s.io", []string{"endpointslices"}, []string{"list"}, "isolated clones and drills", false},
	{served, "coordination.k8s.io", []string{"leases"}, []string{"get", "list", "watch", "create", "update", "patch"}, "agreeing with other controllers on who works", false},
	{served, "events.k8s.io", []string{"events"}, []string{"create", "patch"}, "events", false},
	{served, "", []string{"events"}, []string{"create", "patch"}, "events", false},
}

// own is what a controller that serves some namespaces needs in its own, whether that
// is among them or not.
var own = []need{
	{served, "", []string{"secrets"}, []string{"get", "list", "create", "update", "patch", "delete"}, "records of backups", false},
	{served, "", []string{"configmaps"}, []string{"get", "create", "update"}, "this report", false},
	{served, "coordination.k8s.io", []string{"leases"}, []string{"get", "create", "update"}, "being one of several controllers", false},
	{served, ours, []string{"backups"}, []string{"get", "list", "create", "delete"}, "showing records of other clusters", false},
}

// right is one verb on one resource.
type right struct{ group, resource, verb string }

func (n need) rights() (all []right) {
	for _, resource := range n.resources {
		for _, verb := range n.verbs {
			all = append(all, right{n.group, resource, verb})
		}
	}
	return all
}

// in gives the needs of a scope.
func in(all []need, s scope) []need {
	return slices.DeleteFunc(slices.Clone(all), func(n need) bool { return n.scope != s })
}
