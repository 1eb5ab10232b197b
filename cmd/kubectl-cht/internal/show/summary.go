package show

import (
	"fmt"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	api "github.com/medic/cht-backup/api/v1alpha1"
)

// none stands for what is not known or does not apply.
const none = "-"

const exact = "2006-01-02 15:04:05.000 UTC"

// Summary is what is printed when an operation has ended, or its description
// while it runs.
func Summary(o any, paint Paint) []string {
	s := Of(o)
	head := fmt.Sprintf("%s is %s", s.Title(), paint.phase(s.Phase, s.phase()))
	if s.Phase == api.PhaseFailed {
		head += " (" + orNone(s.Reason) + ")"
	}
	if s.Message != "" {
		head += ": " + s.Message
	}
	lines := []string{head}
	switch o := o.(type) {
	case *api.Backup:
		lines = append(lines, backupBody(o)...)
		if s.Good() {
			lines = append(lines, "", fmt.Sprintf("Restore it beside its source: kubectl cht restore --from %s/%s --to NAMESPACE", o.Namespace, o.Name))
		}
	case *api.Restore:
		lines = append(lines, restoreBody(o)...)
		lines = append(lines, drillVerdict(o)...)
		lines = append(lines, onward(o)...)
	}
	return lines
}

func backupBody(b *api.Backup) []string {
	var facts [][]string
	fact := func(name, value string) {
		if value != "" {
			facts = append(facts, []string{name, value})
		}
	}
	fact("Consistency:", string(b.Status.Consistency))
	if b.Status.StallMilliseconds != nil {
		fact("Stall:", fmt.Sprintf("%d ms", *b.Status.StallMilliseconds))
	}
	quiesce := string(b.Status.QuiesceMode)
	if b.Status.QuiesceReason != "" {
		quiesce += " (" + oneLine(b.Status.QuiesceReason) + ")"
	}
	fact("Quiesce:", quiesce)
	fact("Cut:", at(b.Status.CutTime))
	if b.Status.Nodes > 0 {
		fact("CouchDB:", fmt.Sprintf("%d nodes, %d databases", b.Status.Nodes, b.Status.Databases))
	}
	if n := b.Status.DataBytes; n != nil {
		fact("Data:", fmt.Sprintf("%s documents in %s of files", orNone(count(b.Status.Documents, "")), bytes(*n)))
	}
	if b.Status.Attempt > 1 {
		fact("Attempts:", fmt.Sprintf("%d of %d", b.Status.Attempt, b.Spec.Attempts))
	}
	fact("Verified:", verifiedText(b))
	if until := b.Status.LockedUntil; until != nil {
		fact("Locked until:", moment(until.Time))
	}
	lines := section("", columns("", facts))
	lines = append(lines, section("Timeline", Timeline(b.Status.Timeline))...)
	if len(b.Status.Volumes) > 0 {
		rows := [][]string{{"NODE", "CLAIM", "CUT", "SIZE", "READY", "SNAPSHOT"}}
		for _, v := range byNode(b.Status.Volumes, backupNode) {
			rows = append(rows, []string{v.Node, v.Claim, orNone(at(v.CutTime)), volumeSize(v), yesNo(v.Ready), snapshotOf(v)})
		}
		lines = append(lines, section("Volumes", columns("  ", rows))...)
	}
	lines = append(lines, section("Files", fileLines(b))...)
	return append(lines, section("Copies", copyLines(b))...)
}

// volumeSize is the size of a volume's snapshot, or of its files.
func volumeSize(v api.VolumeStatus) string {
	if v.Method == api.MethodFile && v.File != nil {
		return size(v.File.Size)
	}
	return size(v.RestoreSize)
}

func snapshotOf(v api.VolumeStatus) string {
	if v.Method == api.MethodFile {
		return "its files"
	}
	return orNone(v.Snapshot)
}

// fileLines tells of the files in the catalog's repository.
func fileLines(b *api.Backup) []string {
	rows := [][]string{{"NODE", "FILES", "SIZE", "SENT", "STATE", "REPOSITORY", "TREE"}}
	for _, v := range byNode(b.Status.Volumes, backupNode) {
		f := v.File
		if f == nil {
			continue
		}
		state := "complete"
		if !f.Complete {
			state = orNone(v.Progress)
		}
		if n := len(f.Dropped); n > 0 {
			state += fmt.Sprintf(", views left out: %s", strings.Join(f.Dropped, ", "))
		}
		rows = append(rows, []string{v.Node, fmt.Sprint(f.Files), size(f.Size), size(f.Sent), state, f.Repository, orNone(f.Tree)})
	}
	if len(rows) == 1 {
		return nil
	}
	return columns("  ", rows)
}

// copyLines tells of the copies elsewhere.
func copyLines(b *api.Backup) []string {
	if len(b.Status.Copies) == 0 {
		return nil
	}
	rows := [][]string{{"COPY", "REGION", "ACCOUNT", "STATE", "SNAPSHOTS"}}
	var notes []string
	for _, c := range b.Status.Copies {
		var handles, progress []string
		ready := 0
		for _, v := range byNode(c.Volumes, func(v api.CopiedVolume) string { return v.Node }) {
			if v.Handle != "" {
				handles = append(handles, v.Handle)
			}
			if v.Ready {
				ready++
			} else if v.Progress != "" {
				progress = append(progress, v.Progress)
			}
		}
		state := fmt.Sprintf("%d of %d", ready, len(c.Volumes))
		if len(progress) > 0 {
			state += " (" + strings.Join(progress, ", ") + ")"
		}
		if c.Complete {
			state = "complete"
		}
		rows = append(rows, []string{c.Name, c.Region, orNone(c.Account), state, orNone(strings.Join(handles, ", "))})
		if c.Message != "" && !c.Complete {
			notes = append(notes, "  "+c.Name+": "+oneLine(c.Message))
		}
	}
	return append(columns("  ", rows), notes...)
}

// Timeline gives each moment of a cut with its offset from the first.
func Timeline(t *api.Timeline) []string {
	if t == nil || t.QuiesceStart.IsZero() {
		return nil
	}
	rows := [][]string{{"quiesce start", t.QuiesceStart.UTC().Format(exact), ""}}
	step := func(name string, m *metav1.MicroTime) {
		if m == nil || m.IsZero() {
			return
		}
		offset := m.Sub(t.QuiesceStart.Time).Milliseconds()
		rows = append(rows, []string{name, m.UTC().Format(exact), fmt.Sprintf("%+d ms", offset)})
	}
	step("quiesced", &t.Quiesced)
	step("cut", &t.Cut)
	step("released", &t.Released)
	step("ready", t.Ready)
	return columns("  ", rows)
}

// section sets lines off under a title; nothing when there are none.
func section(title string, lines []string) []string {
	if len(lines) == 0 {
		return nil
	}
	out := []string{""}
	if title != "" {
		out = append(out, title)
	}
	return append(out, lines...)
}

func at(t *metav1.MicroTime) string {
	if t == nil || t.IsZero() {
		return ""
	}
	return t.UTC().Format(exact)
}

// Next says where an operation can be looked at later.
func Next(s State) string {
	return fmt.Sprintf("kubectl cht describe %s %s -n %s", s.Kind, s.Name, s.Namespace)
}

// Abort says how a restore is undone while it runs.
func Abort(s State) string {
	return fmt.Sprintf("kubectl cht restore abort %s -n %s", s.Name, s.Namespace)
}

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

func orNone(s string) string {
	if strings.TrimSpace(s) == "" {
		return none
	}
	return s
}

// size writes a quantity as people read it: a driver may report plain bytes.
func size(q *resource.Quantity) string {
	if q == nil {
		return none
	}
	return bytes(q.Value())
}

func bytes(n int64) string {
	const units = "KMGTPE"
	if n < 1<<10 {
		return fmt.Sprintf("%d B", n)
	}
	f, unit := float64(n), -1
	for f >= 1<<10 && unit < len(units)-1 {
		f, unit = f/(1<<10), unit+1
	}
	text := strings.TrimSuffix(fmt.Sprintf("%.1f", f), ".0")
	return text + " " + units[unit:unit+1] + "iB"
}

// moment writes when, for fields that have no fraction.
func moment(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05 UTC") }
