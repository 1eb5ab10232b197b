package status

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// judge says how well one instance is backed up.
func (in *instance) judge(namespace string, now time.Time, looked bool) Instance {
	out := Instance{Namespace: namespace, State: OK}
	slices.SortFunc(in.backups, func(a, b backup) int { return cmp.Or(a.created.Compare(b.created), cmp.Compare(a.name, b.name)) })
	slices.SortFunc(in.schedules, func(a, b schedule) int { return cmp.Compare(a.name, b.name) })
	good := in.good()
	for i := range in.backups {
		switch b := &in.backups[i]; {
		case b.good:
			out.Backups.Good++
		case b.failed:
			out.Backups.Failed++
		case !b.ended:
			out.Running = b.name
		}
		if in.backups[i].held {
			out.Backups.Held++
		}
	}
	for _, s := range in.schedules {
		out.Schedules = append(out.Schedules, s.name)
	}
	if n := len(good); n > 0 {
		last := good[n-1]
		out.LastGood = &GoodBackup{Name: last.name, Schedule: last.schedule, CutTime: last.cut.UTC(), Consistency: last.consistency,
			StallMilliseconds: last.stall, DataBytes: last.bytes, Documents: last.documents}
		cut, age := last.cut.UTC(), int64(now.Sub(last.cut)/time.Second)
		out.RecoveryPointTime, out.RecoveryPointAgeSeconds = &cut, &age
	}
	out.LastFileCopy = lastFileCopy(good)
	out.LastVerified = in.proof()
	out.NextRun = in.nextRun()
	out.Growth = growth(good)

	out.Trouble = in.trouble(&out, good, now, looked)
	slices.SortStableFunc(out.Trouble, func(a, b Trouble) int { return cmp.Compare(b.Level.rank(), a.Level.rank()) })
	if len(out.Trouble) > 0 && out.Trouble[0].Level != Note {
		out.State = out.Trouble[0].Level
	}
	return out
}

// good gives the good backups in the order of their cuts.
func (in *instance) good() []*backup {
	var good []*backup
	for i := range in.backups {
		if in.backups[i].good {
			good = append(good, &in.backups[i])
		}
	}
	slices.SortStableFunc(good, func(a, b *backup) int { return a.cut.Compare(b.cut) })
	return good
}

// lastFileCopy gives the latest of good backups, in the order of their cuts, whose files
// are copied.
func lastFileCopy(good []*backup) *FileCopy {
	for i := len(good) - 1; i >= 0; i-- {
		if good[i].files != nil {
			return good[i].files
		}
	}
	return nil
}

// proof gives the latest of a backup that nothing speaks against since.
func (in *instance) proof() *Proof {
	var latest *Proof
	for i := range in.backups {
		b := &in.backups[i]
		if b.good && b.verified != nil && (latest == nil || b.verified.Time.After(latest.Time)) {
			latest = &Proof{Backup: b.name, Level: b.verified.Level, Time: b.verified.Time.UTC(), RestoreMilliseconds: b.verified.RestoreMilliseconds}
		}
	}
	return latest
}

func (in *instance) nextRun() *Run {
	var first *Run
	for _, s := range in.schedules {
		if s.next != nil && !s.suspended && (first == nil || s.next.Time.Before(first.Time)) {
			first = &Run{Schedule: s.name, Time: s.next.UTC(), TimeZone: s.zone}
		}
	}
	return first
}

// week is the span that growth is told of where there are backups for it, shortest
// the least that says anything.
const (
	week     = 7 * 24 * time.Hour
	shortest = time.Hour
)

// growth compares the last good backup with the one whose cut lies nearest to a
// week before it.
func growth(good []*backup) *Growth {
	if len(good) == 0 {
		return nil
	}
	last := good[len(good)-1]
	if last.bytes == nil {
		return nil
	}
	var base *backup
	off := func(b *backup) time.Duration { return (last.cut.Sub(b.cut) - week).Abs() }
	for _, b := range good[:len(good)-1] {
		if b.bytes != nil && last.cut.Sub(b.cut) >= shortest && (base == nil || off(b) < off(base)) {
			base = b
		}
	}
	if base == nil {
		return nil
	}
	span := last.cut.Sub(base.cut)
	perDay := float64(*last.bytes-*base.bytes) / span.Hours() * 24
	return &Growth{BytesPerDay: int64(perDay), Since: base.name, OverSeconds: int64(span / time.Second)}
}

func named(n int, one, many string) string {
	if n == 1 {
		return one
	}
	return fmt.Sprintf(many, n)
}

func since(t *metav1.Time, after time.Time) bool { return t != nil && t.After(after) }
