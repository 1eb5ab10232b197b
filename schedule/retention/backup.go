package retention

import (
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	api "github.com/medic/cht-backup/api/v1alpha1"
)

// State is what a backup is good for.
type State int

// The states. Only good backups count and are counted.
const (
	// Unfinished: it runs, or nothing is known yet. Never removed.
	Unfinished State = iota
	// Good: complete, and no restore found otherwise.
	Good
	// Failed: it ended without a cut that can be used.
	Failed
	// Disproved: it was complete, and a restore found that its data is not what was
	// recorded. It goes by the rule for failed ones, and protects no other.
	Disproved
	// Deleting: somebody deletes it. It can protect no other any more.
	Deleting
)

func (s State) String() string {
	return [...]string{"unfinished", "good", "failed", "disproved", "deleting"}[s]
}

// Backup is what is known of one.
type Backup struct {
	// Name is unique among the backups of a plan.
	Name string
	// Time is the cut; of a failed one when it failed, of an unfinished one when it
	// was made.
	Time  time.Time
	State State
	// Verified: a restore proved it.
	Verified bool
	// Disproved is when a restore found it wrong.
	Disproved time.Time
	// Held says why somebody holds it; "" where nobody does.
	Held string
	// LockedUntil is when the storage lets it be removed; zero where it always does.
	LockedUntil time.Time
	// InUse names the restore that needs it.
	InUse string
	// Foreign says whose it is where it is not of the schedule: "manual", or "of
	// schedule hourly". Such a one is kept and not counted.
	Foreign string
}

// ended is when a failed one failed, or when a disproved one was found out: the time
// since which there is something to look at.
func (b Backup) ended() time.Time {
	if b.State == Disproved && !b.Disproved.IsZero() {
		return b.Disproved
	}
	return b.Time
}

// Of reads a Backup. What the object does not tell, InUse and Foreign, is the caller's
// to fill in.
func Of(b *api.Backup) Backup {
	is := Backup{Name: b.Name, Time: b.CreationTimestamp.Time}
	if why, held := b.Annotations[api.HoldAnnotation]; held {
		is.Held = why
		if why == "" {
			is.Held = "no reason given"
		}
	}
	if b.Status.LockedUntil != nil {
		is.LockedUntil = b.Status.LockedUntil.Time
	}
	ready, verified := status(b, api.ConditionReady), status(b, api.ConditionVerified)
	is.Verified = verified.Status == metav1.ConditionTrue
	switch phase := b.Status.Phase; {
	case phase == api.PhaseFailed, phase == api.PhaseCompleted && ready.Status == metav1.ConditionFalse:
		is.State = Failed
		if b.Status.CompletionTime != nil {
			is.Time = b.Status.CompletionTime.Time
		}
	case phase != api.PhaseCompleted, ready.Status != metav1.ConditionTrue, b.Status.CutTime == nil:
		is.State = Unfinished // or of a version that writes it down differently: left alone
	case verified.Status == metav1.ConditionFalse:
		is.State, is.Time, is.Disproved = Disproved, b.Status.CutTime.Time, verified.LastTransitionTime.Time
	default:
		is.State, is.Time = Good, b.Status.CutTime.Time
	}
	if b.DeletionTimestamp != nil {
		is.State = Deleting
	}
	return is
}

func status(b *api.Backup, condition string) metav1.Condition {
	for _, c := range b.Status.Conditions {
		if c.Type == condition {
			return c
		}
	}
	return metav1.Condition{}
}
