package cht

import (
	"regexp"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
)

// volumeID is how EC2 names a volume.
var volumeID = regexp.MustCompile(`^vol-[0-9a-f]{8,17}$`)

// zoneName is how EC2 names a zone: its Region and a letter, or a Local Zone's city. A
// zone's id (use1-az1) is no name.
var zoneName = regexp.MustCompile(`^([a-z]{2,4}(?:-[a-z]+)+-[0-9]{1,2})(?:[a-z]|-[a-z0-9-]+)$`)

// zoneKeys are the labels that bear a zone's name, of today, of the EBS CSI driver, and
// of the past.
var zoneKeys = []string{corev1.LabelTopologyZone, "topology.ebs.csi.aws.com/zone", corev1.LabelFailureDomainBetaZone, "failure-domain.kubernetes.io/zone"}

// RegionOf gives the Region of a zone by its name, "" for what is no zone's name.
func RegionOf(zone string) string {
	if m := zoneName.FindStringSubmatch(zone); m != nil {
		return m[1]
	}
	return ""
}

// ebsOf finds the EBS volume of a PersistentVolume, nil if it is none or does not name
// it in a way that is known.
func ebsOf(pv corev1.PersistentVolume) *EBS {
	handle := ""
	switch {
	case pv.Spec.CSI != nil && pv.Spec.CSI.Driver == EBSDriver:
		handle = pv.Spec.CSI.VolumeHandle
	case pv.Spec.AWSElasticBlockStore != nil:
		handle = pv.Spec.AWSElasticBlockStore.VolumeID
	default:
		return nil
	}
	e := EBS{VolumeID: handle}
	if rest, url := strings.CutPrefix(handle, "aws://"); url { // aws://ZONE/vol-…, the zone may be empty
		var found bool
		if e.Zone, e.VolumeID, found = strings.Cut(rest, "/"); !found {
			return nil
		}
	}
	if !volumeID.MatchString(e.VolumeID) {
		return nil
	}
	if RegionOf(e.Zone) == "" {
		e.Zone = zoneOf(pv)
	}
	return &e
}

// zoneOf reads the zone a volume can be used in. A volume has one.
func zoneOf(pv corev1.PersistentVolume) string {
	if a := pv.Spec.NodeAffinity; a != nil && a.Required != nil {
		for _, term := range a.Required.NodeSelectorTerms {
			for _, e := range term.MatchExpressions {
				if slices.Contains(zoneKeys, e.Key) && e.Operator == corev1.NodeSelectorOpIn && len(e.Values) == 1 && RegionOf(e.Values[0]) != "" {
					return e.Values[0]
				}
			}
		}
	}
	for _, key := range zoneKeys {
		if zone := pv.Labels[key]; RegionOf(zone) != "" {
			return zone
		}
	}
	return ""
}
