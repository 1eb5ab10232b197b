package retention

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"
	"time"
)

// keptOf are the backups that a plan leaves.
func keptOf(plan []Decision) []Backup {
	var left []Backup
	for _, d := range plan {
		if d.Keep {
			left = append(left, d.Backup)
		}
	}
	return left
}

func names(backups []Backup) []string {
	all := []string{}
	for _, b := range backups {
		all = append(all, b.Name)
	}
	slices.Sort(all)
	return all
}

func TestPlanTwiceChangesNothing(t *testing.T) {
	seed, random := seeded(t)
	for round := range 2000 {
		h := someHistory(random, zones(t))
		first := Plan(h.policy, h.zone, h.now, h.backups)
		left := slices.DeleteFunc(first, func(d Decision) bool { return !d.Keep })
		if again := Plan(h.policy, h.zone, h.now, keptOf(first)); !reflect.DeepEqual(again, left) && len(again)+len(left) > 0 {
			t.Fatalf("seed %d round %d: %s\nfirst %v\nthen  %v", seed, round, h, left, again)
		}
	}
}

func TestPlanDoesNotDependOnTheOrder(t *testing.T) {
	seed, random := seeded(t)
	for round := range 2000 {
		h := someHistory(random, zones(t))
		want := Plan(h.policy, h.zone, h.now, h.backups)
		given := slices.Clone(h.backups)
		random.Shuffle(len(given), func(i, j int) { given[i], given[j] = given[j], given[i] })
		shuffled := slices.Clone(given)
		if got := Plan(h.policy, h.zone, h.now, given); !reflect.DeepEqual(got, want) {
			t.Fatalf("seed %d round %d: %s\nin order %v\nshuffled %v", seed, round, h, want, got)
		}
		if !slices.Equal(given, shuffled) {
			t.Fatalf("seed %d round %d: the plan changed what it was given", seed, round)
		}
	}
}

// TestMoreKeepsMore: a greater count or a longer span never removes what a smaller
// one keeps.
func TestMoreKeepsMore(t *testing.T) {
	seed, random := seeded(t)
	for round := range 2000 {
		h := someHistory(random, zones(t))
		more := h.policy
		for _, count := range []*int{&more.Last, &more.Hourly, &more.Daily, &more.Weekly, &more.Monthly, &more.Yearly, &more.FailedLast, &more.Within.Days, &more.Within.Months, &more.FailedWithin.Hours} {
			*count += random.IntN(3)
		}
		kept := names(keptOf(Plan(more, h.zone, h.now, h.backups)))
		for _, b := range keptOf(Plan(h.policy, h.zone, h.now, h.backups)) {
			if !slices.Contains(kept, b.Name) {
				t.Fatalf("seed %d round %d: %s\n%+v removes %s", seed, round, h, more, b.Name)
			}
		}
	}
}

// TestAHoldTouchesNoOther: whoever holds one backup must not make another go.
func TestAHoldTouchesNoOther(t *testing.T) {
	seed, random := seeded(t)
	for round := range 2000 {
		h := someHistory(random, zones(t))
		if len(h.backups) == 0 {
			continue
		}
		held := slices.Clone(h.backups)
		i := random.IntN(len(held))
		held[i].Held = "test"
		without, with := Plan(h.policy, h.zone, h.now, h.backups), Plan(h.policy, h.zone, h.now, held)
		for j := range without {
			if without[j].Name != held[i].Name && without[j].Keep != with[j].Keep {
				t.Fatalf("seed %d round %d: %s\nthe hold on %s changes %s", seed, round, h, held[i].Name, without[j].Name)
			}
			if with[j].Name == held[i].Name && with[j].Keep == (held[i].State == Deleting) {
				t.Fatalf("seed %d round %d: %s\n%s is held, kept: %v", seed, round, h, held[i].Name, with[j].Keep)
			}
		}
	}
}

// TestHowOftenDoesNotMatter: a plan after every backup leaves what one plan at the end
// leaves, so that a controller that was away removes nothing else.
func TestHowOftenDoesNotMatter(t *testing.T) {
	seed, random := seeded(t)
	for round := range 1000 {
		policy, zone := somePolicy(random), zones(t)[random.IntN(len(zones(t)))]
		times := someTimes(random, 60)
		slices.SortFunc(times, time.Time.Compare)
		times = slices.CompactFunc(times, time.Time.Equal)
		var all, each, sometimes []Backup
		backwards := false
		for i, at := range times {
			b := Backup{Name: fmt.Sprintf("b%03d", i), Time: at, State: Good}
			all, each, sometimes = append(all, b), append(each, b), append(sometimes, b)
			each = keptOf(Plan(policy, zone, at, each))
			if random.IntN(4) == 0 {
				sometimes = keptOf(Plan(policy, zone, at, sometimes))
			}
			backwards = backwards || i > 0 && asUTC(at.In(zone)).Before(asUTC(times[i-1].In(zone)))
		}
		if backwards && !policy.Within.IsZero() {
			continue // see Span.Before: the hour that autumn repeats
		}
		now := times[len(times)-1]
		once := names(keptOf(Plan(policy, zone, now, all)))
		sometimes = keptOf(Plan(policy, zone, now, sometimes))
		if got := names(each); !slices.Equal(got, once) {
			t.Fatalf("seed %d round %d: policy %+v zone %s\nafter each %v\nonce       %v", seed, round, policy, zone, got, once)
		}
		if got := names(sometimes); !slices.Equal(got, once) {
			t.Fatalf("seed %d round %d: policy %+v zone %s\nat times %v\nonce     %v", seed, round, policy, zone, got, once)
		}
	}
}

// TestNothingEndsWithoutAGoodBackup lives through years in which clocks step, zones
// and policies change, backups fail and are disproved, and somebody deletes.
func TestNothingEndsWithoutAGoodBackup(t *testing.T) {
	seed, random := seeded(t)
	removed := 0
	for life := range 60 {
		now, zone, policy := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), zones(t)[0], somePolicy(random)
		policy.Unlimited = false
		var there []Backup
		for day := range 300 {
			now = now.Add(time.Duration(random.IntN(300)) * step)
			switch random.IntN(20) {
			case 0: // a step of the clock, up to ten years either way
				now = now.AddDate(0, random.IntN(241)-120, 0)
			case 1:
				now = now.Add(time.Duration(random.IntN(200)-100) * step)
			case 2:
				zone = zones(t)[random.IntN(len(zones(t)))]
			case 3:
				policy = somePolicy(random)
				policy.Unlimited = false
			}
			there = happen(random, there, now, fmt.Sprintf("b%04d", day))
			plan := Plan(policy, zone, now, there)
			removed += len(there) - len(keptOf(plan))
			if fault := mustStay(there, keptOf(plan), now); fault != "" {
				t.Fatalf("seed %d life %d day %d: %s\n%s", seed, life, day, fault, history{policy, zone, now, there})
			}
			there = keptOf(plan)
		}
	}
	if removed < 4_000 {
		t.Errorf("only %d were removed: the test lost its sense", removed)
	}
}

// happen is what a day does to the backups there are.
func happen(random *rand.Rand, there []Backup, now time.Time, name string) []Backup {
	b := Backup{Name: name, Time: now, State: Good}
	switch random.IntN(12) {
	case 0, 1, 2:
		b.State = Failed
	case 3:
		b.State = Unfinished
	case 4:
		b.Foreign = "manual"
	case 5: // the storage's clock is not ours
		b.Time = now.Add(time.Duration(random.IntN(2000)-1000) * step)
	}
	there = append(there, b)
	o := &there[random.IntN(len(there))]
	switch random.IntN(12) {
	case 0, 1:
		o.Verified = o.State == Good
	case 2:
		if o.State == Good {
			o.State, o.Verified, o.Disproved = Disproved, false, now
		}
	case 3:
		if o.State == Unfinished {
			o.State, o.Time = []State{Good, Failed}[random.IntN(2)], now
		}
	case 4:
		o.Held = "audit"
	case 5:
		o.Held = ""
	case 6:
		o.InUse = "restore r"
	case 7:
		o.InUse = ""
	case 8:
		o.LockedUntil = now.AddDate(0, 1, 0)
	case 9:
		if random.IntN(4) == 0 {
			o.State, o.Verified = Deleting, false
		}
	}
	return there
}

// mustStay tells what was removed that nothing may remove, or "".
func mustStay(before, after []Backup, now time.Time) string {
	is := func(all []Backup, want func(Backup) bool) (newest Backup, many int) {
		for _, b := range all {
			if want(b) {
				if many++; many == 1 || newer(b, newest) {
					newest = b
				}
			}
		}
		return newest, many
	}
	for _, rule := range []struct {
		name string
		want func(Backup) bool
	}{
		{"good", func(b Backup) bool { return b.State == Good }},
		{"good and of the schedule", func(b Backup) bool { return b.State == Good && b.Foreign == "" }},
		{"good and past", func(b Backup) bool { return countable(b, now) }},
		{"verified and past", func(b Backup) bool { return countable(b, now) && b.Verified }},
		{"verified", func(b Backup) bool { return b.State == Good && b.Verified }},
	} {
		was, many := is(before, rule.want)
		if left, still := is(after, rule.want); many > 0 && (still == 0 || left.Name != was.Name) {
			return fmt.Sprintf("%s was the newest that is %s, %d of %d are left", was.Name, rule.name, still, many)
		}
	}
	_, good := is(before, func(b Backup) bool { return countable(b, now) })
	_, disproved := is(before, func(b Backup) bool { return b.State == Disproved })
	if _, still := is(after, func(b Backup) bool { return b.State == Disproved }); good == 0 && disproved > 0 && still == 0 {
		return "no good one, and the last disproved one is gone"
	}
	for _, b := range before {
		untouchable := b.State == Unfinished || b.Held != "" || b.InUse != "" || b.LockedUntil.After(now) || b.Foreign != ""
		gone := !slices.ContainsFunc(after, func(a Backup) bool { return a.Name == b.Name })
		if gone && untouchable && b.State != Deleting {
			return b.Name + " was not to be touched"
		}
		if !gone && b.State == Deleting {
			return b.Name + " is being deleted and counts as kept"
		}
	}
	return ""
}
