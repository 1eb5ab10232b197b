package served

import (
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// LeaseName is that of the Lease in each namespace that a controller with a list serves.
const LeaseName = "cht-backup-serves"

const (
	// Duration is how long a Lease counts that nobody renews. With a thousand namespaces
	// that is ten writes a second; a backup is late by no more than that when the
	// controller of its namespace is gone for good.
	Duration = 5 * time.Minute
	// renewEvery is how often it is renewed: two may fail.
	renewEvery = Duration / 3
	// trusted is for how long after a renewal its holder works on. It is less than
	// Duration: he stops before others begin.
	trusted = Duration * 2 / 3
	// settling is how long one who has got a Lease waits before he works: others hear of
	// it by a watch, and end what they were doing.
	settling = 10 * time.Second
	// afterDeletion is for how long a Lease counts that somebody deleted: its holder, if
	// he is alive, makes it again by then.
	afterDeletion = renewEvery + 20*time.Second
	// onLeaving is for how long a Lease counts whose holder has said that he goes: one
	// that is started anew is back by then.
	onLeaving = 30 * time.Second
)

// sighting is what was seen of somebody's Lease, and when. Only the clock of this process
// counts, and only how much of it has passed: the clocks of two nodes never agree, and
// either may be set.
type sighting struct {
	holder string
	// mark changes with each renewal.
	mark string
	at   time.Time
	// lasts is for how long it counts from then on.
	lasts time.Duration
	// gone: the Lease was deleted, at that time.
	gone bool
}

func markOf(l *coordinationv1.Lease) string {
	text := holderOf(l)
	if l.Spec.RenewTime != nil {
		text += " " + l.Spec.RenewTime.UTC().Format(time.RFC3339Nano)
	}
	return text + " " + string(l.UID)
}

func holderOf(l *coordinationv1.Lease) string {
	if l.Spec.HolderIdentity == nil {
		return ""
	}
	return *l.Spec.HolderIdentity
}

// see takes a Lease in that is somebody else's.
func (s sighting) see(l *coordinationv1.Lease, now time.Time) sighting {
	if mark := markOf(l); s.mark != mark || s.gone {
		lasts := Duration
		if d := l.Spec.LeaseDurationSeconds; d != nil && *d > 0 {
			lasts = min(time.Duration(*d)*time.Second, 12*Duration) // nobody takes a namespace for good
		}
		s = sighting{holder: holderOf(l), mark: mark, at: now, lasts: lasts}
	}
	return s
}

// left is for how long it still counts; 0 is no longer.
func (s sighting) left(now time.Time) time.Duration {
	if s.holder == "" {
		return 0
	}
	return max(0, s.at.Add(s.lasts).Sub(now))
}

// ours is the Lease as this controller writes it.
func ours(l *coordinationv1.Lease, namespace, me string, now time.Time, lasts time.Duration) {
	l.Namespace, l.Name = namespace, LeaseName
	seconds, at := int32(lasts/time.Second), metav1.NewMicroTime(now)
	if holderOf(l) != me {
		l.Spec.AcquireTime = &at
		changes := int32(1)
		if t := l.Spec.LeaseTransitions; t != nil {
			changes += *t
		}
		l.Spec.LeaseTransitions = &changes
	}
	l.Spec.HolderIdentity, l.Spec.LeaseDurationSeconds, l.Spec.RenewTime = &me, &seconds, &at
}

// hold is a namespace of this controller's list.
type hold struct {
	// renewed is when the latest renewal that worked was begun; zero is never.
	renewed time.Time
	// from is when this controller may begin to work, since is when it got it.
	from, since time.Time
	// tried is when it was last asked for.
	tried time.Time
	// why it is not held, for people; "" while it is.
	why string
}

// valid tells whether its holder may work.
func (h hold) valid(now time.Time) bool { return !h.lapsed(now) && !now.Before(h.from) }

// lapsed tells whether it was not renewed in time. Both clocks must say that it was: the
// one that nobody sets stands still while a machine sleeps, in which others may have begun.
func (h hold) lapsed(now time.Time) bool {
	return h.renewed.IsZero() || now.Before(h.renewed) || now.Sub(h.renewed) >= trusted || now.Round(0).Sub(h.renewed.Round(0)) >= trusted
}

// renew notes a renewal that was begun at some time and has worked by now. The first,
// and the first after one that came too late, is one that others must hear of.
func (h hold) renew(begun, now time.Time) hold {
	if h.lapsed(now) {
		h.since, h.from = now, now.Add(settling)
	}
	h.renewed, h.why = begun, ""
	return h
}

// due tells whether it is time to ask again.
func (h hold) due(now time.Time) bool {
	if h.tried.IsZero() {
		return true
	}
	every := renewEvery
	if h.why != "" {
		every = askAgain
	}
	return now.Sub(h.tried) >= every || now.Before(h.tried)
}

// askAgain is how soon a namespace is asked for again that is not to be had: it is
// another's, or is not there, or this controller has no rights in it.
const askAgain = look
