package ebs

import (
	"cmp"
	"slices"

	corev1 "k8s.io/api/core/v1"
)

// Zones chooses for each volume, by its source's zone, one of those in which its pod
// can run: the same where that is among them. Volumes of different zones come to be
// in different ones again, as far as there are any. "" is chosen where none is.
func Zones(sources []string, possible [][]string) []string {
	chosen := make([]string, len(sources))
	instead := map[string]string{}
	taken := map[string]int{}
	for i, was := range sources {
		if slices.Contains(possible[i], was) {
			chosen[i] = was
			taken[was]++
		}
	}
	for i, was := range sources {
		if chosen[i] != "" || len(possible[i]) == 0 {
			continue
		}
		if zone := instead[was]; zone != "" && slices.Contains(possible[i], zone) {
			chosen[i] = zone
			continue
		}
		zone := slices.MinFunc(possible[i], func(a, b string) int { return cmp.Or(cmp.Compare(taken[a], taken[b]), cmp.Compare(a, b)) })
		chosen[i], instead[was] = zone, zone
		taken[zone]++
	}
	return chosen
}

// ZonesOf are the zones of the nodes that fit takes, in order of their names.
func ZonesOf(nodes []corev1.Node, fit func(*corev1.Node) bool) []string {
	var zones []string
	for i := range nodes {
		zone := nodes[i].Labels[corev1.LabelTopologyZone]
		if zone != "" && !slices.Contains(zones, zone) && fit(&nodes[i]) {
			zones = append(zones, zone)
		}
	}
	slices.Sort(zones)
	return zones
}

// RegionOf is the Region of the cluster's nodes, "" where they do not say.
func RegionOf(nodes []corev1.Node) string {
	for i := range nodes {
		if region := nodes[i].Labels[corev1.LabelTopologyRegion]; region != "" {
			return region
		}
	}
	return ""
}
