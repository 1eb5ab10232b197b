package ebs

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/snapshot/catalog"
	"github.com/medic/cht-backup/snapshot/reason"
)

// Is tells whether a node's volume was cut by EC2.
func Is(node catalog.Node) bool { return node.Method == api.MethodEBS }

// Set are the snapshots of all nodes in one Region, by node.
type Set struct {
	Region    string
	Snapshots map[string]string
}

// Sets are the Regions from which all nodes can be restored: that of the snapshots,
// and those with a complete copy. A Region in which one is missing is none.
func Sets(nodes []catalog.Node) map[string]Set {
	of := map[string]map[string]string{}
	add := func(region, node, snapshot string) {
		if region == "" || snapshot == "" {
			return
		}
		if of[region] == nil {
			of[region] = map[string]string{}
		}
		if of[region][node] == "" { // the original goes before a copy beside it
			of[region][node] = snapshot
		}
	}
	count := 0
	for _, n := range nodes {
		if !Is(n) {
			continue
		}
		count++
		if n.EBS != nil {
			add(n.EBS.Region, n.Service, n.SnapshotHandle)
		}
		for _, c := range n.Copies {
			add(c.Region, n.Service, c.Handle)
		}
	}
	sets := map[string]Set{}
	for region, snapshots := range of {
		if len(snapshots) == count {
			sets[region] = Set{region, snapshots}
		}
	}
	return sets
}

// Choose gives the set to restore from: that of the Region asked for, else that of
// the cluster's, else, if nobody knows the latter, the source's. Volumes are used in
// their own Region only.
func Choose(nodes []catalog.Node, asked, cluster string) (Set, error) {
	sets := Sets(nodes)
	have := "there is none"
	if len(sets) > 0 {
		have = "there are sets in " + strings.Join(slices.Sorted(maps.Keys(sets)), ", ")
	}
	if asked != "" && cluster != "" && asked != cluster {
		return Set{}, reason.Refuse(api.ReasonRemapInvalid, "spec.ebs.region is %s, and the nodes of this cluster are in %s, where a volume of another Region cannot be attached; %s", asked, cluster, have)
	}
	region := asked
	if region == "" {
		region = cluster
	}
	if region == "" {
		region = source(nodes)
	}
	if set, ok := sets[region]; ok {
		return set, nil
	}
	if asked != "" {
		return Set{}, reason.Refuse(api.ReasonSnapshotMissing, "in Region %s (spec.ebs.region) there are not the snapshots of all nodes; %s", region, have)
	}
	return Set{}, reason.Refuse(api.ReasonSnapshotMissing, "this cluster is in Region %s, where there are not the snapshots of all nodes; %s. Copy them%s, or restore in a cluster of another Region",
		region, have, copyCommand(nodes, region))
}

func source(nodes []catalog.Node) string {
	for _, n := range nodes {
		if Is(n) && n.EBS != nil {
			return n.EBS.Region
		}
	}
	return ""
}

func copyCommand(nodes []catalog.Node, to string) string {
	for _, n := range nodes {
		if Is(n) && n.EBS != nil {
			return fmt.Sprintf(" (spec.ebs.copies of a backup, `kubectl cht backup`; by hand: aws ec2 copy-snapshot --region %s --source-region %s --source-snapshot-id %s, and so on for each node)", to, n.EBS.Region, n.SnapshotHandle)
		}
	}
	return ""
}
