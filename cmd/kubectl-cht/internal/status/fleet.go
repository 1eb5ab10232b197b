package status

import (
	"cmp"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	api "github.com/medic/cht-backup/api/v1alpha1"
)

// Fleet gathers what is judged, object by object, and keeps of each only what is
// needed: a cluster may hold a hundred thousand Backups.
type Fleet struct {
	// Looked says that workloads could be listed, so that a namespace without one
	// has no CHT.
	Looked bool

	instances map[string]*instance
}

type instance struct {
	backups   []backup
	schedules []schedule
	drill     *drill // the latest that ended
	restoring string
	clone     bool
	cht       bool
}

// backup is what is kept of a Backup.
type backup struct {
	name, schedule  string
	created, cut    time.Time
	good, failed    bool
	held            bool
	broken          bool // a restore found that it is not what was recorded
	reason, message string
	verified        *api.VerifiedBy
	consistency     api.Consistency
	stall           *int64
	bytes           *int64
	documents       *int64
	ended           bool
	phase           api.Phase
	files           *FileCopy
	// notCopied is why its files are not, which were to be copied; "" otherwise.
	notCopied, notCopiedMessage string
}

type schedule struct {
	name             string
	created          time.Time
	expression, zone string
	jitter           time.Duration
	// copies is fileCopySchedule, "" for none.
	copies                 string
	suspended, drills      bool
	observed               bool
	ready                  *metav1.Condition
	next, lastMissed       *metav1.Time
	missed                 int64
	active, waiting        string
	drillNext              *metav1.Time
	drillWaiting, drillRun string
}

type drill struct {
	name, backup    string
	ended           time.Time
	failed          bool
	reason, message string
}

// longest is how much is kept of a message.
const longest = 400

func (f *Fleet) at(namespace string) *instance {
	if f.instances == nil {
		f.instances = map[string]*instance{}
	}
	if f.instances[namespace] == nil {
		f.instances[namespace] = &instance{}
	}
	return f.instances[namespace]
}

// AddNamespace has a namespace reported whatever is in it.
func (f *Fleet) AddNamespace(namespace string) { f.at(namespace) }

// AddCHT tells that a CouchDB of a CHT runs, or is meant to, in a namespace.
func (f *Fleet) AddCHT(namespace string) { f.at(namespace).cht = true }

func broken(b *api.Backup) bool {
	return b.Status.Phase == api.PhaseCompleted && meta.IsStatusConditionFalse(b.Status.Conditions, api.ConditionVerified)
}

// AddBackup adds a Backup. One that is being deleted counts for nothing.
func (f *Fleet) AddBackup(b *api.Backup) {
	if b.IsImported() {
		return // it is of no instance here
	}
	in := f.at(b.Namespace)
	if b.DeletionTimestamp != nil {
		return
	}
	_, held := b.Annotations[api.HoldAnnotation]
	kept := backup{name: b.Name, schedule: b.Labels[api.ScheduleLabel], created: b.CreationTimestamp.Time, good: b.Good(), failed: b.Status.Phase == api.PhaseFailed,
		held: held, broken: broken(b), consistency: b.Status.Consistency,
		stall: b.Status.StallMilliseconds, bytes: b.Status.DataBytes, documents: b.Status.Documents}
	if b.Proven() {
		kept.verified = b.Status.Verified
	}
	if kept.good && b.HasFiles() {
		size, sent := b.FileBytes()
		kept.files = &FileCopy{Backup: b.Name, CutTime: b.Status.CutTime.UTC(), Bytes: size, SentBytes: sent}
	} else if meta.IsStatusConditionFalse(b.Status.Conditions, api.ConditionFileCopied) {
		kept.notCopied, kept.notCopiedMessage = why(b.Status.Conditions, api.ConditionFileCopied)
	}
	kept.phase = b.Status.Phase
	kept.ended = kept.failed || b.Status.Phase == api.PhaseCompleted
	if b.Status.CutTime != nil {
		kept.cut = b.Status.CutTime.Time
	}
	kind := api.ConditionReady
	if kept.broken {
		kind = api.ConditionVerified
	}
	if !kept.good {
		kept.reason, kept.message = why(b.Status.Conditions, kind)
	}
	in.backups = append(in.backups, kept)
}

// AddSchedule adds a BackupSchedule.
func (f *Fleet) AddSchedule(s *api.BackupSchedule) {
	in := f.at(s.Namespace)
	if s.DeletionTimestamp != nil {
		return
	}
	kept := schedule{name: s.Name, created: s.CreationTimestamp.Time, expression: string(s.Spec.Schedule), zone: cmp.Or(s.Spec.TimeZone, "Etc/UTC"),
		suspended: s.Spec.Suspend, drills: s.Spec.Drill != nil, observed: s.Status.ObservedGeneration > 0,
		next: s.Status.Backups.NextTime, lastMissed: s.Status.LastMissed, missed: s.Status.MissedRuns,
		active: s.Status.Backups.Active, waiting: s.Status.Backups.WaitingFor}
	if s.Spec.FileCopySchedule != nil {
		kept.copies = string(*s.Spec.FileCopySchedule)
	}
	kept.jitter = time.Duration(s.Status.JitterSeconds) * time.Second
	if d := s.Status.Drills; d != nil {
		kept.drillNext, kept.drillWaiting, kept.drillRun = d.NextTime, d.WaitingFor, d.Active
	}
	if c := meta.FindStatusCondition(s.Status.Conditions, api.ConditionReady); c != nil {
		copied := *c
		copied.Message = clip(c.Message)
		kept.ready = &copied
	}
	in.schedules = append(in.schedules, kept)
}

// AddRestore adds a Restore: a drill tells of the backups, a clone that nobody
// expects any, and one in place that the instance is being worked on.
func (f *Fleet) AddRestore(r *api.Restore) {
	in := f.at(r.Namespace)
	ended := r.Status.Phase == api.PhaseCompleted || r.Status.Phase == api.PhaseFailed || r.Status.Phase == api.PhaseExpired
	switch {
	case r.Spec.Drill != nil:
		reason, message := why(r.Status.Conditions, api.ConditionReady)
		// One that somebody aborted says nothing.
		if !ended || r.Status.CompletionTime == nil || reason == api.ReasonAborted {
			return
		}
		d := &drill{name: r.Name, backup: r.Spec.Source.Name, ended: r.Status.CompletionTime.Time, failed: r.Status.Phase == api.PhaseFailed, reason: reason, message: message}
		if in.drill == nil || d.ended.After(in.drill.ended) {
			in.drill = d
		}
	case r.Spec.InPlace != nil || r.Spec.Database != nil:
		if !ended && !r.Spec.PlanOnly {
			in.restoring = r.Name
		}
	case !r.Spec.GoLive:
		in.clone = true
	}
}

func why(conditions []metav1.Condition, kind string) (reason, message string) {
	if c := meta.FindStatusCondition(conditions, kind); c != nil {
		return c.Reason, clip(c.Message)
	}
	return "", ""
}

func clip(s string) string {
	if runes := []rune(s); len(runes) > longest {
		return string(runes[:longest]) + "…"
	}
	return s
}

// Report judges all that was added. A namespace that holds nothing but a clone is
// left out.
func (f *Fleet) Report(now time.Time) Report {
	report := Report{Version: Version, Time: now.UTC().Truncate(time.Second), Instances: []Instance{}}
	for namespace, in := range f.instances {
		switch {
		case in.clone && len(in.backups)+len(in.schedules) == 0:
			report.Clones = append(report.Clones, namespace)
		default:
			report.Instances = append(report.Instances, in.judge(namespace, now, f.Looked))
		}
	}
	slices.Sort(report.Clones)
	slices.SortFunc(report.Instances, func(a, b Instance) int {
		return cmp.Or(cmp.Compare(b.State.rank(), a.State.rank()), compareAge(b, a), cmp.Compare(a.Namespace, b.Namespace))
	})
	return report
}

// compareAge: one without any recovery point is older than all.
func compareAge(a, b Instance) int {
	switch {
	case a.RecoveryPointTime == nil && b.RecoveryPointTime == nil:
		return 0
	case a.RecoveryPointTime == nil:
		return 1
	case b.RecoveryPointTime == nil:
		return -1
	default:
		return b.RecoveryPointTime.Compare(*a.RecoveryPointTime)
	}
}

// Empty tells whether nothing was added.
func (f *Fleet) Empty() bool { return len(f.instances) == 0 }
