package restore

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/snapshot/catalog"
	"github.com/medic/cht-backup/snapshot/cht"
	"github.com/medic/cht-backup/snapshot/reason"
)

// preflightInPlace refuses unless the backup is of this very instance: the same
// nodes, with the same claims and paths.
func (r *Reconciler) preflightInPlace(ctx context.Context, w *work) error {
	restore := w.restore
	if w.record.Namespace != restore.Namespace {
		return reason.Refuse(api.ReasonNotAllowed, "backup %s/%s is not of namespace %s; in place only a backup of the same instance is restored. Restore it into an empty namespace",
			w.record.Namespace, w.record.Name, restore.Namespace)
	}
	inventory, err := cht.Load(ctx, r.Client, restore.Namespace)
	if err != nil {
		return err
	}
	places, err := cht.Layout(inventory)
	if err != nil {
		return err
	}
	if err := sameTopology(w.record.Nodes, places); err != nil {
		return err
	}
	for i := range restore.Status.Volumes {
		v := &restore.Status.Volumes[i]
		pv, err := inventory.VolumeOf(v.Claim)
		if err != nil {
			// A claim that only names a volume may not own it, and one whose volume is
			// gone could never be given back.
			return reason.Refuse(api.ReasonClaimNotBound, "%w: there is no volume to set aside. Mend the claim, or restore into an empty namespace", err)
		}
		if v.SetAside = pv.Name; pv.Annotations[provisionedBy] == "" {
			w.caution("claim %s is on volume %s, %s, which was made by hand; the restored volume is made by a storage class. A chart or manifest that names the volume (spec.volumeName of the claim) must name the new one afterwards, or its next upgrade is refused; the old one's storage goes only by hand",
				v.Claim, pv.Name, cht.Source(pv))
		}
	}
	return sameSelectors(w.source, w.before)
}

// provisionedBy names, on a volume, the driver that made it and deletes it with its
// storage.
const provisionedBy = "pv.kubernetes.io/provisioned-by"

// sameTopology refuses unless the backup's nodes are those that are there, each
// with its claim and its place on it. A shard on another node than its map says
// is a shard lost, without any error of CouchDB's.
func sameTopology(nodes []catalog.Node, places []cht.Place) error {
	var have, want []string
	for _, p := range places {
		have = append(have, p.Service)
	}
	for _, n := range nodes {
		want = append(want, n.Service)
	}
	if !slices.Equal(have, want) {
		return reason.Refuse(api.ReasonTopologyMismatch,
			"the backup is of %d CouchDB nodes (%s), this instance has %d (%s): the shards of one cannot be read by the other. Restore into an empty namespace, which gets the backup's nodes",
			len(want), strings.Join(want, ", "), len(have), strings.Join(have, ", "))
	}
	for i, n := range nodes {
		p := places[i]
		if p.Claim != n.Claim {
			return reason.Refuse(api.ReasonTopologyMismatch,
				"%s mounted claim %s when it was backed up and mounts %s now: its data would come to another node. Give the nodes their claims back, or restore into an empty namespace", n.Service, n.Claim, p.Claim)
		}
		if p.DataSubPath != n.DataSubPath || p.ConfigOnVolume != n.ConfigOnVolume || p.ConfigSubPath != n.ConfigSubPath {
			return reason.Refuse(api.ReasonTopologyMismatch,
				"%s had its data at %q and its configuration at %q of the volume when it was backed up, and has them at %q and %q now; change the subPaths back, or restore into an empty namespace",
				n.Service, n.DataSubPath, n.ConfigSubPath, p.DataSubPath, p.ConfigSubPath)
		}
		if _, host, _ := strings.Cut(n.ErlangName, "@"); len(nodes) > 1 && p.Host != "" && p.Host != host {
			return reason.Refuse(api.ReasonTopologyMismatch,
				"%s was the Erlang node %s when it was backed up and is told to be couchdb@%s now: nodes were reordered. Put SVC_NAME back, or restore into an empty namespace", n.Service, n.ErlangName, p.Host)
		}
	}
	return nil
}

// sameSelectors refuses where a workload cannot take the backup's template: what
// it selects by cannot be changed.
func sameSelectors(source, before []*unstructured.Unstructured) error {
	for _, was := range source {
		if !isWorkload(was) {
			continue
		}
		for _, now := range before {
			if now.GetKind() != was.GetKind() || now.GetName() != was.GetName() {
				continue
			}
			selector, _, _ := unstructured.NestedStringMap(now.Object, "spec", "selector", "matchLabels")
			given, _, _ := unstructured.NestedStringMap(was.Object, "spec", "template", "metadata", "labels")
			if !matches(given, selector) {
				return reason.Refuse(api.ReasonTopologyMismatch,
					"%s %s/%s selects its pods by %v, and the backup's pods have the labels %v; a selector cannot be changed, so restore into an empty namespace", now.GetKind(), now.GetNamespace(), now.GetName(), selector, given)
			}
		}
	}
	return nil
}

// warnings are what somebody should weigh before a restore begins.
func (w *work) warnings() []string {
	return slices.Concat(w.inPlaceWarnings(), w.remapWarnings(), w.cautions)
}

func (w *work) inPlaceWarnings() []string {
	if w.restore.Spec.InPlace == nil {
		return nil
	}
	warnings := []string{fmt.Sprintf("everything written after %s is not on the restored volumes; it stays on those that are set aside", w.record.CutTime.UTC().Format("2006-01-02 15:04:05 MST"))}
	if w.restore.Spec.InPlace.SafetyBackup == api.SafetyBackupSkip {
		warnings = append(warnings, "no safety backup is taken: the volumes set aside are the only copy of the present state")
	}
	for _, was := range w.target { // as remapped: an image from another registry is none of the backup's
		for _, now := range w.before {
			if !isWorkload(was) || !w.has(was) || now.GetKind() != was.GetKind() || now.GetName() != was.GetName() {
				continue
			}
			warnings = append(warnings, imageWarnings(was, now)...)
			if a, b := chartOf(was), chartOf(now); a != b && a != "" && b != "" {
				warnings = append(warnings, chartWarning(now.GetName(), b, a))
			}
		}
	}
	for _, now := range w.before {
		if isWorkload(now) && !slices.ContainsFunc(w.source, func(o *unstructured.Unstructured) bool {
			return o.GetKind() == now.GetKind() && o.GetName() == now.GetName()
		}) {
			warnings = append(warnings, fmt.Sprintf("%s %s is not in the backup; it is stopped and started again as it is", strings.ToLower(now.GetKind()), now.GetName()))
		}
	}
	return warnings
}
