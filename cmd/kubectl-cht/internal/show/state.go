package show

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	api "github.com/medic/cht-backup/api/v1alpha1"
)

// State is what progress shows of an operation, of either kind.
type State struct {
	Kind, Namespace, Name string
	Phase                 api.Phase
	// Reason and Message are those of the Ready condition.
	Reason, Message string
	Volumes         []Volume
	// Progress of the present step, nil when it does not count documents.
	Progress *Progress
	// Created and Completed bound the elapsed time; Completed is zero while it runs.
	Created, Completed time.Time
}

// Volume is one node's volume, and how far it is.
type Volume struct{ Node, Claim, State string }

// Of gives the state of a *Backup or a *Restore.
func Of(o any) State {
	switch o := o.(type) {
	case *api.Backup:
		return ofBackup(o)
	case *api.Restore:
		return ofRestore(o)
	default:
		return State{}
	}
}

func ofBackup(b *api.Backup) State {
	s := State{Kind: "backup", Namespace: b.Namespace, Name: b.Name, Phase: b.Status.Phase, Created: b.CreationTimestamp.Time}
	s.note(b.Status.Conditions, b.Status.CompletionTime)
	for _, v := range byNode(b.Status.Volumes, backupNode) {
		state := "waiting"
		switch {
		case v.Ready:
			state = "ready"
		case v.CutTime != nil:
			state = "cut, becoming ready"
		}
		s.Volumes = append(s.Volumes, Volume{v.Node, v.Claim, state})
	}
	return s
}

func ofRestore(r *api.Restore) State {
	s := State{Kind: "restore", Namespace: r.Namespace, Name: r.Name, Phase: r.Status.Phase, Progress: progressOf(r), Created: r.CreationTimestamp.Time}
	s.note(r.Status.Conditions, r.Status.CompletionTime)
	for _, v := range byNode(r.Status.Volumes, restoreNode) {
		state := "waiting"
		switch {
		case v.Prepared:
			state = "prepared"
		case v.Bound:
			state = "bound, being prepared"
		}
		s.Volumes = append(s.Volumes, Volume{v.Node, v.Claim, state})
	}
	return s
}

func backupNode(v api.VolumeStatus) string    { return v.Node }
func restoreNode(v api.RestoredVolume) string { return v.Node }

// byNode sorts a copy, couchdb-2 before couchdb-10: the controller writes the
// volumes down as their cuts end.
func byNode[V any](volumes []V, node func(V) string) []V {
	return slices.SortedStableFunc(slices.Values(volumes), func(a, b V) int {
		return cmp.Or(cmp.Compare(len(node(a)), len(node(b))), cmp.Compare(node(a), node(b)))
	})
}

func (s *State) note(conditions []metav1.Condition, completed *metav1.MicroTime) {
	if c := meta.FindStatusCondition(conditions, api.ConditionReady); c != nil {
		s.Reason, s.Message = c.Reason, oneLine(c.Message)
	}
	if completed != nil {
		s.Completed = completed.Time
	}
}

// Ended tells whether the phase is final.
func (s State) Ended() bool {
	return s.Phase == api.PhaseCompleted || s.Phase == api.PhaseFailed || s.Phase == api.PhaseExpired
}

// Good tells whether it ended well.
func (s State) Good() bool { return s.Phase == api.PhaseCompleted }

// Title names the object for people.
func (s State) Title() string { return s.Kind + " " + s.Namespace + "/" + s.Name }

func (s State) phase() string {
	if s.Phase == "" {
		return "Accepted"
	}
	return string(s.Phase)
}

func (s State) elapsed(now time.Time) time.Duration {
	if !s.Completed.IsZero() {
		now = s.Completed
	}
	return max(0, now.Sub(s.Created))
}

// patience is how long a new object may lie without a controller taking it up
// before that is worth a word.
const patience = 10 * time.Second

// Unclaimed gives a hint when no controller seems to serve the namespace, or "".
func Unclaimed(s State, now time.Time, systemNamespace string) string {
	if s.Phase != "" || s.elapsed(now) < patience {
		return ""
	}
	return Unserved(s.Namespace, systemNamespace)
}

// Unserved says what to look at when nothing takes up what was made in a namespace.
func Unserved(namespace, systemNamespace string) string {
	return fmt.Sprintf("no controller has taken it up yet; is cht-backup running (`kubectl get pods -n %s`), and does it serve namespace %s (`kubectl get lease cht-backup-serves -n %s`)?",
		systemNamespace, namespace, namespace)
}

// Block is what a terminal shows while the operation runs. No line is longer
// than width: a wrapped line could not be redrawn.
func Block(s State, now time.Time, width int, hint string, paint Paint) []string {
	lines := []string{fmt.Sprintf("%s  %s  %s", s.Title(), s.phase(), seconds(s.elapsed(now)))}
	if s.Message != "" {
		lines = append(lines, "  "+s.Message)
	}
	if s.Progress != nil {
		lines = append(lines, "  "+s.Progress.bar())
	}
	if hint != "" {
		lines = append(lines, "  "+hint)
	}
	var rows [][]string
	for _, v := range s.Volumes {
		rows = append(rows, []string{v.Node, v.Claim, v.State})
	}
	lines = append(lines, columns("  ", rows)...)
	for i := range lines {
		lines[i] = clip(lines[i], width)
	}
	// Painted last, since colour has no width.
	lines[0] = strings.Replace(lines[0], "  "+s.phase()+"  ", "  "+paint.phase(s.Phase, s.phase())+"  ", 1)
	return lines
}

// Changes are the lines that tell what became different from was to s.
func Changes(was, s State, now time.Time) []string {
	var lines []string
	stamp := now.UTC().Format("15:04:05") + " "
	switch {
	case s.Phase != was.Phase || was.Name == "":
		line := stamp + s.Title() + " " + s.phase()
		if s.Message != "" {
			line += ": " + s.Message
		}
		lines = append(lines, line)
	case s.Message != was.Message:
		lines = append(lines, stamp+s.Title()+" "+s.phase()+": "+s.Message)
	case s.Progress != nil && (was.Progress == nil || s.Progress.Done != was.Progress.Done):
		lines = append(lines, stamp+s.Title()+" "+s.phase()+": "+s.Progress.String())
	}
	before := map[string]string{}
	for _, v := range was.Volumes {
		before[v.Node] = v.State
	}
	for _, v := range s.Volumes {
		if before[v.Node] != v.State {
			lines = append(lines, fmt.Sprintf("%s%s volume %s (%s) %s", stamp, s.Title(), v.Node, v.Claim, v.State))
		}
	}
	return lines
}

// Counts tells whether nothing but the count became different from was to s. A
// verification of hours would fill a log with such lines.
func Counts(was, s State) bool {
	return was.Progress != nil && s.Progress != nil && s.Phase == was.Phase && slices.Equal(was.Volumes, s.Volumes)
}

func seconds(d time.Duration) string {
	if d < time.Minute {
		return fmt.Sprintf("%.1fs", d.Seconds())
	}
	return d.Truncate(time.Second).String()
}
