package show

import (
	"fmt"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	api "github.com/medic/cht-backup/api/v1alpha1"
)

// restoreBody tells of a restore below its head line.
func restoreBody(r *api.Restore) []string {
	lines := section("", columns("", restoreFacts(r)))
	lines = append(lines, section("Volumes", restoreVolumes(r))...)
	lines = append(lines, section("Verification", verification(r.Status.Verification))...)
	if i := r.Status.Isolation; i != nil {
		lines = append(lines, section("Isolation", []string{"  " + strings.TrimSuffix(string(i.Result)+": "+oneLine(i.Message), ": ")})...)
	}
	var notes []string
	for _, n := range r.Status.Notes {
		notes = append(notes, "  - "+oneLine(n))
	}
	return append(lines, section("Notes", notes)...)
}

func restoreFacts(r *api.Restore) [][]string {
	facts := [][]string{{"From:", fromText(r)}, {"How:", form(r)}}
	fact := func(name, value string) {
		if value != "" {
			facts = append(facts, []string{name, value})
		}
	}
	fact("Data as of:", at(r.Status.CutTime))
	if r.Spec.InPlace == nil && r.Spec.Database == nil && r.Spec.Drill == nil {
		fact("Live:", live(r))
	}
	if r.Spec.Credentials == api.CredentialsRotate {
		fact("Credentials:", "new ones")
	}
	switch in := r.Spec.InPlace; {
	case r.Status.SafetyBackup != "":
		fact("Safety backup:", r.Namespace+"/"+r.Status.SafetyBackup)
	case in != nil && in.SafetyBackup == api.SafetyBackupSkip:
		fact("Safety backup:", "none, as asked")
	}
	if d := r.Status.Database; d != nil {
		fact("Restored as:", d.As)
		if r.Status.Phase != api.PhaseFailed { // that has removed them
			fact("Live one kept as:", d.KeptAs)
			if r.Status.Phase != api.PhaseCompleted {
				fact("Scratch namespace:", d.Scratch)
				fact("Staged as:", d.Staging)
			}
		}
		if d.Compared > 0 {
			fact("Compared:", fmt.Sprintf("%d documents, deleted ones included, are those of the backup", d.Compared))
		}
	}
	fact("Schedule:", r.Labels[api.ScheduleLabel])
	fact("Scratch namespace:", drillScratch(r))
	fact("Recovery took:", recoveryTook(r))
	if p := progressOf(r); p != nil {
		fact("Progress:", p.String())
	}
	if r.Spec.PlanOnly {
		fact("Planned only:", "yes")
	}
	if r.Spec.Abort {
		fact("Abort:", "asked for")
	}
	fact("Expires:", expiry(r))
	if r.Status.StartTime != nil && r.Status.CompletionTime != nil {
		fact("Took:", seconds(r.Status.CompletionTime.Sub(r.Status.StartTime.Time)))
	}
	return facts
}

func live(r *api.Restore) string {
	in := r.Spec.Remap
	switch {
	case r.Spec.GoLive:
		return "yes"
	case r.Spec.Scope == api.ScopeCouchDB:
		return "no: CouchDB alone, no traffic out of the namespace"
	case in != nil && in.Ingress != nil && in.Ingress.Host != "":
		return "no: Sentinel stays at 0, no traffic out of the namespace; ingress for " + in.Ingress.Host
	default:
		return "no: Sentinel stays at 0, no ingress, no traffic out of the namespace"
	}
}

// expiry tells when a clone is removed; before it has ended only after how long.
func expiry(r *api.Restore) string {
	switch {
	case r.Status.ExpirationTime != nil:
		return moment(r.Status.ExpirationTime.Time) + ", with its volumes"
	case r.Spec.TimeToLive != nil:
		return r.Spec.TimeToLive.Duration.String() + " after it has ended, with its volumes"
	default:
		return ""
	}
}

func restoreVolumes(r *api.Restore) []string {
	if len(r.Status.Volumes) == 0 {
		return nil
	}
	aside := false
	for _, v := range r.Status.Volumes {
		aside = aside || v.SetAside != ""
	}
	head := []string{"NODE", "CLAIM", "BOUND", "PREPARED"}
	if aside {
		head = append(head, "VOLUME", "FORMER VOLUME")
	}
	rows := [][]string{head}
	for _, v := range byNode(r.Status.Volumes, restoreNode) {
		row := []string{v.Node, v.Claim, yesNo(v.Bound), yesNo(v.Prepared)}
		if aside {
			row = append(row, orNone(v.Volume), orNone(v.SetAside))
		}
		rows = append(rows, row)
	}
	lines := columns("  ", rows)
	if aside && r.Status.Phase == api.PhaseCompleted {
		lines = append(lines, fmt.Sprintf("  The former volumes stay until you delete them: kubectl get pv -l %s=%s", api.SetAsideLabel, r.UID))
	}
	return lines
}

func verification(v *api.Verification) []string {
	if v == nil {
		return nil
	}
	text := fmt.Sprintf("%d databases, %d shards, %d documents; %d documents read back", v.Databases, v.Shards, v.Documents, v.Sampled)
	if v.Level != "" {
		text = string(v.Level) + ": " + text
	}
	lines := []string{"  " + text}
	if v.Streamed > 0 {
		lines = append(lines, fmt.Sprintf("  all ids and revisions of %d documents read; %d databases have the digest of the backup", v.Streamed, v.Digests))
	}
	if v.Attachments > 0 || v.Views > 0 {
		lines = append(lines, fmt.Sprintf("  %d attachments read (%s); %d views answered", v.Attachments, bytes(v.AttachmentBytes), v.Views))
	}
	if took := between(v.StartTime, v.CompletionTime); took > 0 {
		lines = append(lines, "  took "+seconds(took))
	}
	for _, p := range v.Problems {
		lines = append(lines, "  problem: "+oneLine(p))
	}
	for _, n := range v.Notes {
		lines = append(lines, "  note: "+oneLine(n))
	}
	return lines
}

func between(from, to *metav1.MicroTime) time.Duration {
	if from == nil || to == nil {
		return 0
	}
	return to.Sub(from.Time)
}

// probes is the evidence of an isolation, connection by connection.
func probes(i *api.Isolation) []string {
	if i == nil || len(i.Targets) == 0 {
		return nil
	}
	rows := [][]string{{"FROM", "TO", "ADDRESS", "CLONE", "CONTROLLER", "ROUNDS"}}
	for _, t := range i.Targets {
		address := t.Address
		if t.OwnNode {
			address += " (own node)"
		}
		rows = append(rows, []string{t.From, string(t.Kind), address, orNone(string(t.Outcome)), orNone(string(t.Control)), fmt.Sprint(t.Rounds)})
	}
	return columns("  ", rows)
}

// onward tells how to go on with a restore that waits for somebody.
func onward(r *api.Restore) []string {
	if r.Status.Phase != api.PhasePlanned {
		return nil
	}
	return []string{"",
		fmt.Sprintf(`Go on with it:  kubectl patch restores.%s %s -n %s --type merge -p '{"spec":{"planOnly":false}}'`, api.GroupVersion.Group, r.Name, r.Namespace),
		fmt.Sprintf("Or drop it:     kubectl cht restore abort %s -n %s", r.Name, r.Namespace)}
}
