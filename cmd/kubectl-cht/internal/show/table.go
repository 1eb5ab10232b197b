package show

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/duration"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/snapshot/catalog"
)

// Listing is what `list` found.
type Listing struct {
	Backups   []api.Backup
	Restores  []api.Restore
	Schedules []api.BackupSchedule
	// Records are those whose Backup is gone.
	Records []catalog.Head
}

// Empty tells whether nothing was found.
func (l Listing) Empty() bool {
	return len(l.Backups)+len(l.Restores)+len(l.Records)+len(l.Schedules) == 0
}

// WithoutBackup leaves of heads those whose Backup is gone.
func WithoutBackup(heads []catalog.Head, backups []api.Backup) []catalog.Head {
	there := map[string]bool{}
	for i := range backups {
		there[string(backups[i].UID)] = true
	}
	var gone []catalog.Head
	for _, h := range heads {
		if !there[string(h.UID)] {
			gone = append(gone, h)
		}
	}
	return gone
}

// Table draws a listing. Columns of priority 1 are for -o wide.
func Table(l Listing, now time.Time) *metav1.Table {
	t := &metav1.Table{}
	for _, name := range []string{"Namespace", "Kind", "Name", "Phase", "Consistency", "Stall", "Cut", "Size", "Verified"} {
		t.ColumnDefinitions = append(t.ColumnDefinitions, metav1.TableColumnDefinition{Name: name, Type: "string"})
	}
	for _, name := range []string{"Nodes", "Quiesce", "From", "Allowed", "Expires", "Held", "Copies", "Files", "Age", "UID"} {
		t.ColumnDefinitions = append(t.ColumnDefinitions, metav1.TableColumnDefinition{Name: name, Type: "string", Priority: 1})
	}
	type sorted struct {
		namespace, kind string
		created         time.Time
		row             []any
	}
	var rows []sorted
	for i := range l.Backups {
		b := &l.Backups[i]
		rows = append(rows, sorted{b.Namespace, "backup", b.CreationTimestamp.Time, backupRow(b, now)})
	}
	for _, h := range l.Records {
		// A record is as old as its cut; one without a readable time sorts first.
		cut, _ := time.Parse(time.RFC3339, h.CutTime)
		rows = append(rows, sorted{h.Namespace, "backup", cut, recordRow(h, cut, now)})
	}
	for i := range l.Restores {
		r := &l.Restores[i]
		rows = append(rows, sorted{r.Namespace, "restore", r.CreationTimestamp.Time, restoreRow(r, now)})
	}
	for i := range l.Schedules {
		s := &l.Schedules[i]
		rows = append(rows, sorted{s.Namespace, "schedule", s.CreationTimestamp.Time, scheduleRow(s, now)})
	}
	slices.SortStableFunc(rows, func(a, b sorted) int {
		return cmp.Or(cmp.Compare(a.namespace, b.namespace), cmp.Compare(a.kind, b.kind), a.created.Compare(b.created))
	})
	for _, r := range rows {
		t.Rows = append(t.Rows, metav1.TableRow{Cells: r.row})
	}
	return t
}

func backupRow(b *api.Backup, now time.Time) []any {
	stall := none
	if b.Status.StallMilliseconds != nil {
		stall = fmt.Sprintf("%d ms", *b.Status.StallMilliseconds)
	}
	kind := "backup"
	if b.IsImported() {
		kind = "in catalog"
	}
	return []any{b.Namespace, kind, b.Name, phaseCell(Of(b), b.DeletionTimestamp), orNone(string(b.Status.Consistency)), stall,
		micro(b.Status.CutTime, now), total(b.Status.Volumes), verifiedCell(b, now),
		fmt.Sprint(b.Status.Nodes), orNone(string(b.Status.QuiesceMode)), importedFrom(b), orNone(strings.Join(b.Spec.AllowedNamespaces, ",")), none, heldCell(b, now), copiesCell(b), filesCell(b), age(b.CreationTimestamp.Time, now), string(b.UID)}
}

// importedFrom tells what a Backup shows that is of another cluster.
func importedFrom(b *api.Backup) string {
	if !b.IsImported() || b.Status.Imported == nil {
		return none
	}
	from := b.Status.Imported.Backup
	return oneLine(b.Status.Imported.Cluster) + ":" + from.Namespace + "/" + from.Name
}

func recordRow(h catalog.Head, cut, now time.Time) []any {
	return []any{orNone(h.Namespace), "backup", orNone(h.Name), "record only", none, none, age(cut, now), none, none,
		none, none, none, orNone(strings.Join(h.AllowedNamespaces, ",")), none, orNone(clip(oneLine(h.Hold), widestHold)), none, none, age(cut, now), string(h.UID)}
}

func restoreRow(r *api.Restore, now time.Time) []any {
	kind := "restore"
	if r.Spec.Drill != nil {
		kind = "drill"
	}
	return []any{r.Namespace, kind, r.Name, phaseCell(Of(r), r.DeletionTimestamp), none, none, micro(r.Status.CutTime, now), none, none,
		fmt.Sprint(len(r.Status.Volumes)), none, r.Spec.Source.Namespace + "/" + r.Spec.Source.Name, none, expires(r, now), none, none, none, age(r.CreationTimestamp.Time, now), string(r.UID)}
}

// scheduleRow: the cut is that of its last good backup.
func scheduleRow(s *api.BackupSchedule, now time.Time) []any {
	return []any{s.Namespace, "schedule", s.Name, scheduleState(s), none, none, lastOf(s.Status.LastSuccessfulTime, now), none, none,
		none, none, none, none, none, none, none, none, age(s.CreationTimestamp.Time, now), string(s.UID)}
}

func phaseCell(s State, deleted *metav1.Time) string {
	switch {
	case deleted != nil:
		return "Deleting"
	case s.Phase == api.PhaseFailed && s.Reason != "":
		return "Failed: " + s.Reason
	case s.Progress != nil:
		return fmt.Sprintf("%s %d%%", s.phase(), s.Progress.percent())
	default:
		return s.phase()
	}
}

// widestHold is what a table shows of the reason of a hold.
const widestHold = 40

// heldCell tells what keeps a backup: somebody's hold, or a lock of the storage.
func heldCell(b *api.Backup, now time.Time) string {
	why, held := b.Annotations[api.HoldAnnotation]
	why = clip(oneLine(why), widestHold)
	if held && strings.TrimSpace(why) == "" {
		why = "yes"
	}
	if until := b.Status.LockedUntil; until != nil && until.After(now) {
		why = strings.TrimPrefix(why+"; locked until "+until.UTC().Format(time.DateOnly), "; ")
	}
	return orNone(why)
}

// copiesCell tells how many copies are complete.
func copiesCell(b *api.Backup) string {
	if b.Spec.EBS == nil || len(b.Spec.EBS.Copies) == 0 {
		return none
	}
	done := 0
	for _, c := range b.Status.Copies {
		if c.Complete {
			done++
		}
	}
	return fmt.Sprintf("%d/%d", done, len(b.Spec.EBS.Copies))
}

// filesCell tells what became of the files that go into the catalog's repository.
func filesCell(b *api.Backup) string {
	complete, files := 0, 0
	for _, v := range b.Status.Volumes {
		if v.File != nil {
			files++
			if v.File.Complete {
				complete++
			}
		}
	}
	c := meta.FindStatusCondition(b.Status.Conditions, api.ConditionFileCopied)
	switch {
	case b.HasFiles():
		_, sent := b.FileBytes()
		return bytes(sent) + " sent"
	case c != nil && c.Status == metav1.ConditionFalse:
		return "failed: " + c.Reason
	case files > 0:
		return fmt.Sprintf("%d/%d", complete, files)
	}
	return none
}

// total is what a restore needs at least; unknown when one volume's size is.
func total(volumes []api.VolumeStatus) string {
	sum := int64(0)
	for _, v := range volumes {
		size := v.RestoreSize
		if v.Method == api.MethodFile && v.File != nil {
			size = v.File.Size
		}
		if size == nil {
			return none
		}
		sum += size.Value()
	}
	if sum == 0 {
		return none
	}
	return bytes(sum)
}

// expires tells how long a clone stays.
func expires(r *api.Restore, now time.Time) string {
	switch at := r.Status.ExpirationTime; {
	case at == nil:
		return none
	case !at.After(now):
		return "now"
	default:
		return "in " + duration.HumanDuration(at.Sub(now))
	}
}

func micro(t *metav1.MicroTime, now time.Time) string {
	if t == nil {
		return none
	}
	return age(t.Time, now)
}

func age(t, now time.Time) string {
	if t.IsZero() {
		return none
	}
	return duration.HumanDuration(now.Sub(t))
}
