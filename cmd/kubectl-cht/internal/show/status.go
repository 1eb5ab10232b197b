package show

import (
	"fmt"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/util/duration"

	"github.com/medic/cht-backup/cmd/kubectl-cht/internal/status"
)

// Status draws a report, one line an instance.
func Status(r status.Report, wide bool, paint Paint) []string {
	head := []string{"STATE", "NAMESPACE", "LAST GOOD", "RECOVERY POINT", "VERIFIED", "NEXT RUN", "STALL", "SIZE", "GROWTH"}
	if wide {
		head = append(head, "DOCUMENTS", "GOOD", "FAILED", "RECOVERY TOOK", "FILE COPY", "SCHEDULES")
	}
	rows := [][]string{append(head, "TROUBLE")}
	for i := range r.Instances {
		rows = append(rows, statusRow(&r.Instances[i], r.Time, wide))
	}
	lines := columns("", rows)
	for i := range r.Instances {
		state := string(r.Instances[i].State)
		// Painted last, since colour has no width.
		lines[i+1] = paint.level(r.Instances[i].State, state) + strings.TrimPrefix(lines[i+1], state)
	}
	return lines
}

func statusRow(in *status.Instance, now time.Time, wide bool) []string {
	row := []string{string(in.State), in.Namespace}
	if g := in.LastGood; g != nil {
		row = append(row, g.Name, age(g.CutTime, now), proofCell(in.LastVerified, now), nextCell(in), count(g.StallMilliseconds, " ms"), bytesOrNone(g.DataBytes), growthCell(in.Growth))
	} else {
		row = append(row, none, none, proofCell(in.LastVerified, now), nextCell(in), none, none, none)
	}
	if wide {
		documents, took := none, none
		if in.LastGood != nil {
			documents = count(in.LastGood.Documents, "")
		}
		if p := in.LastVerified; p != nil {
			took = seconds(time.Duration(p.RestoreMilliseconds) * time.Millisecond)
		}
		row = append(row, documents, fmt.Sprint(in.Backups.Good), fmt.Sprint(in.Backups.Failed), took, fileCopyCell(in.LastFileCopy, now), orNone(strings.Join(in.Schedules, ",")))
	}
	return append(row, orNone(troubleText(in.Trouble, wide)))
}

func troubleText(all []status.Trouble, details bool) string {
	var words []string
	for _, t := range all {
		text := t.Words
		if details && t.Detail != "" {
			text += " (" + t.Detail + ")"
		}
		words = append(words, oneLine(text))
	}
	return strings.Join(words, "; ")
}

func proofCell(p *status.Proof, now time.Time) string {
	if p == nil {
		return "never"
	}
	return string(p.Level) + " " + age(p.Time, now)
}

// fileCopyCell tells how old the files in the catalog are, and what the newest took.
func fileCopyCell(c *status.FileCopy, now time.Time) string {
	if c == nil {
		return none
	}
	return fmt.Sprintf("%s, %s sent", age(c.CutTime, now), bytes(c.SentBytes))
}

// nextCell tells the next run as the clock on the wall of its zone shows it.
func nextCell(in *status.Instance) string {
	switch {
	case in.Running != "":
		return "running"
	case in.NextRun == nil:
		return none
	default:
		return local(in.NextRun.Time, in.NextRun.TimeZone)
	}
}

func growthCell(g *status.Growth) string {
	if g == nil {
		return none
	}
	text := "+" + bytes(g.BytesPerDay)
	if g.BytesPerDay < 0 {
		text = "-" + bytes(-g.BytesPerDay)
	}
	text += "/day"
	const near = 12 * time.Hour
	if over := time.Duration(g.OverSeconds) * time.Second; (over - 7*24*time.Hour).Abs() > near {
		text += " over " + duration.HumanDuration(over)
	}
	return text
}

func count(n *int64, unit string) string {
	if n == nil {
		return none
	}
	return fmt.Sprintf("%d%s", *n, unit)
}

func bytesOrNone(n *int64) string {
	if n == nil {
		return none
	}
	return bytes(*n)
}
