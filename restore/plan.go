package restore

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/restore/remap"
	"github.com/medic/cht-backup/snapshot/catalog"
	"github.com/medic/cht-backup/snapshot/cht"
)

// What each step does, in words for whoever has to agree to it.

func planVolumes(w *work) []string {
	var lines []string
	if w.restore.Spec.InPlace == nil {
		lines = append(lines, fmt.Sprintf("create NetworkPolicy %s: nothing leaves namespace %s but DNS", isolationName, w.restore.Namespace))
	}
	if w.rotates() {
		lines = append(lines, fmt.Sprintf("create Secret %s: a new admin password and cookie secret, deleted when they are on the volumes and in Secret %s", rotationName(w.restore), cht.CredentialsSecret))
	}
	for _, node := range w.volumes() {
		c := claim(w.restore, node)
		if plan := static(w.restore, node.Service); plan != nil {
			lines = append(lines, fmt.Sprintf("create EBS volume and PersistentVolume %s in zone %s from snapshot %s of %s, and claim %s (%s) for it, and prepare it",
				c.Spec.VolumeName, plan.Zone, plan.Snapshot, node.Service, c.Name, c.Spec.Resources.Requests.Storage()))
			continue
		}
		class := "the default class"
		if c.Spec.StorageClassName != nil {
			class = "class " + *c.Spec.StorageClassName
		}
		lines = append(lines, fmt.Sprintf("create claim %s (%s, %s) %s, and prepare its volume", c.Name, c.Spec.Resources.Requests.Storage(), class, from(w.restore, node)))
	}
	return lines
}

// from says what a claim is filled from.
func from(restore *api.Restore, node catalog.Node) string {
	if f := filled(restore, node.Service); f != nil {
		return fmt.Sprintf("and fill it with the %d files of %s (%s), tree %s of repository %s", node.File.Files, node.Service, &f.Total, node.File.Tree, node.File.Repository)
	}
	return fmt.Sprintf("from snapshot %s of %s", node.SnapshotHandle, node.Service)
}

func planObjects(w *work) []string {
	var lines []string
	changes := w.changes()
	for _, o := range w.target {
		line := fmt.Sprintf("create %s %s", o.GetKind(), o.GetName())
		if o.GetKind() == "Ingress" {
			continue // made at the end
		}
		if isWorkload(o) {
			line += " at 0 replicas, with " + imageList(o)
		}
		lines = append(lines, line+changes.text(o))
	}
	return lines
}

// changes are what a remap changes, by object.
type changes remap.Result

func (w *work) changes() changes { return changes(remapped(w.restore, w.source, w.rewrite)) }

// text tells the changes to one object, for the end of a line.
func (c changes) text(o *unstructured.Unstructured) string {
	if texts := remap.Result(c).Of(o); len(texts) > 0 {
		return " (remapped: " + strings.Join(texts, "; ") + ")"
	}
	return ""
}

// remapWarnings are what a remap changes without having been asked in so many
// words, or what it cannot do here.
func (w *work) remapWarnings() []string {
	given := w.restore.Spec.Remap
	if given == nil {
		return nil
	}
	result := remapped(w.restore, w.source, w.rewrite)
	warnings := slices.Clone(result.Warnings)
	if _, asked := given.Replicas["sentinel"]; asked && !w.starts("sentinel") {
		warnings = append(warnings, "replicas of sentinel: this is a clone, whose Sentinel stays at 0")
	}
	return warnings
}

func imageList(o *unstructured.Unstructured) string {
	return strings.Join(slices.Sorted(maps.Values(images(o))), ", ")
}

func planCouchDB(w *work) []string {
	lines := scaled(w, cht.IsCouchDB)
	for _, node := range w.record.Nodes {
		lines = append(lines, fmt.Sprintf("%s becomes %s", node.Service, w.rewrite.erlangName(node.ErlangName)))
	}
	return append(lines, fmt.Sprintf("look for every shard on its node, then write the shard maps of some %d databases", len(w.record.Before.ShardMaps)))
}

func planVerifying(w *work) []string {
	return []string{fmt.Sprintf("verification %s of some %d databases against the record; nothing else starts unless it finds all well", w.restore.Spec.Verify, len(w.record.Before.ShardMaps))}
}

func planStart(w *work) []string {
	if !w.restore.Spec.GoLive {
		last := "never Sentinel, and no ingress"
		if hasIngress(w.restore) {
			last = "never Sentinel"
		}
		lines := []string{fmt.Sprintf("run %d probes, with the labels of the pods they stand for, that must reach CouchDB and nothing outside of the namespace", len(w.probes("", nil)))}
		up, held := w.parted(true)
		var always, closed []string
		for _, o := range up {
			if inward[component(o)] {
				always = append(always, o.GetName())
			} else {
				closed = append(closed, o.GetName())
			}
		}
		lines = append(lines, fmt.Sprintf("start %s; only if the probes show that the namespace is closed in: %s; %s", joined(always), joined(closed), last))
		for _, name := range sortedKeys(held) {
			lines = append(lines, fmt.Sprintf("leave %s at 0: %s", name, held[name]))
		}
		for _, policy := range doorways(w.restore, w.target) {
			lines = append(lines, fmt.Sprintf("create NetworkPolicy %s: anything may come in to %s, for the ingress", policy.Name, policy.Spec.PodSelector.MatchLabels[cht.ServiceLabel]))
		}
		return append(lines, planIngresses(w)...)
	}
	lines := append([]string{fmt.Sprintf("delete NetworkPolicy %s", isolationName)}, scaled(w, func(c string) bool { return !cht.IsCouchDB(c) })...)
	return append(lines, planIngresses(w)...)
}

func planIngresses(w *work) []string {
	var lines []string
	changes := w.changes()
	for _, o := range w.target {
		if o.GetKind() == "Ingress" {
			lines = append(lines, fmt.Sprintf("create Ingress %s for %s", o.GetName(), strings.Join(ingressHosts(o), ", "))+changes.text(o))
		}
	}
	return lines
}

// scaled tells of the workloads that a step brings up.
func scaled(w *work, has func(string) bool) []string {
	var lines []string
	for _, o := range w.target {
		if isWorkload(o) && has(component(o)) {
			lines = append(lines, fmt.Sprintf("scale %s %s to %d", o.GetKind(), o.GetName(), heldAt(o)))
		}
	}
	return lines
}

func planSafetyBackup(w *work) []string {
	if w.restore.Spec.InPlace.SafetyBackup == api.SafetyBackupSkip {
		return []string{"no safety backup, as asked"}
	}
	return []string{fmt.Sprintf("create Backup %s of the present state; if it fails, stop here", safetyName(w.restore))}
}

func planStopping(w *work) []string {
	lines := []string{fmt.Sprintf("create Secret %s: how the instance is now, to return to", beforeName(w.restore))}
	for _, tier := range tiers {
		for _, o := range w.before {
			if isWorkload(o) && tier.has(component(o)) {
				lines = append(lines, fmt.Sprintf("scale %s %s from %d to 0", o.GetKind(), o.GetName(), replicasOf(o)))
			}
		}
	}
	return lines
}

func planSwapping(w *work) []string {
	var lines []string
	for _, v := range w.restore.Status.Volumes {
		lines = append(lines,
			fmt.Sprintf("set volume %s of claim %s aside: retained, nobody's, until you delete it", v.SetAside, v.Claim),
			fmt.Sprintf("make claim %s again on the volume of claim %s, and delete that claim", v.Claim, temporary(w.restore, v.Claim)))
	}
	return lines
}

func planPutBack(w *work) []string {
	var lines []string
	changes := w.changes()
	for _, o := range w.target {
		now := slices.IndexFunc(w.before, func(b *unstructured.Unstructured) bool {
			return b.GetKind() == o.GetKind() && b.GetName() == o.GetName()
		})
		switch {
		case isWorkload(o) && now < 0:
			lines = append(lines, fmt.Sprintf("create %s %s at 0 replicas, with %s", o.GetKind(), o.GetName(), imageList(o))+changes.text(o))
		case isWorkload(o) && !sameTemplate(o, w.before[now]):
			lines = append(lines, fmt.Sprintf("put %s %s back to the backup's template, with %s", o.GetKind(), o.GetName(), imageList(o))+changes.text(o))
		case isCredentials(o) && w.rotates():
			lines = append(lines, fmt.Sprintf("put the new password and cookie secret into Secret %s", o.GetName()))
		case isCredentials(o) && now >= 0 && !sameData(o, w.before[now]):
			lines = append(lines, fmt.Sprintf("put Secret %s back to the credentials of the backup, which are on its volumes", o.GetName()))
		case !isWorkload(o) && !isCredentials(o):
			lines = append(lines, fmt.Sprintf("create %s %s if it is missing", o.GetKind(), o.GetName()))
		}
	}
	return lines
}

func planStartAgain(w *work) []string {
	var lines []string
	for i := len(tiers) - 2; i >= 0; i-- {
		lines = append(lines, scaled(w, tiers[i].has)...)
	}
	return lines
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
