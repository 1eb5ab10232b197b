package queue

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/types"
)

var noon = time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC)

// backup of a name that is due so many minutes after noon.
func backup(name string, minutes int) Backup {
	return Backup{NamespacedName: types.NamespacedName{Namespace: "cht", Name: name}, UID: types.UID("uid-" + name), Due: noon.Add(time.Duration(minutes) * time.Minute)}
}

// played is a queue and what it woke.
type played struct {
	*Queue
	woken []string
}

func play(l Limits) *played {
	p := &played{}
	p.Queue = New(l, func(key types.NamespacedName) { p.woken = append(p.woken, key.Name) })
	return p
}

// enter gives "" for a backup that may run, else what it waits for.
func (p *played) enter(b Backup, drivers ...string) string {
	place := p.Enter(b, noon)
	if place.Runs && drivers != nil {
		place = p.Begin(b.NamespacedName, drivers, noon)
	}
	if place.Runs {
		return ""
	}
	return place.String()
}

func (p *played) wantWoken(t *testing.T, names ...string) {
	t.Helper()
	if !slices.Equal(p.woken, names) {
		t.Errorf("woke %v, want %v", p.woken, names)
	}
	p.woken = nil
}

func TestOrder(t *testing.T) {
	p := play(Limits{Cluster: 1, Driver: 9})
	if w := p.enter(backup("now", 0), "d"); w != "" {
		t.Fatal(w)
	}
	urgent := backup("urgent", 99)
	urgent.Urgent = true
	for _, b := range []Backup{backup("late", 9), backup("b", 3), backup("a", 3), urgent, backup("early", 1)} {
		p.enter(b)
	}
	if w := p.enter(backup("b", 3)); w != "waiting: 1 of 1 backups run, 4th in line" {
		t.Error(w)
	}
	p.wantWoken(t)
	last := "now"
	for _, next := range []string{"urgent", "early", "a", "b", "late"} {
		p.Leave(backup(last, 0).NamespacedName)
		p.wantWoken(t, next)
		last = next
	}
}

func TestAFullDriverBlocksNobodyElse(t *testing.T) {
	p := play(Limits{Cluster: 4, Driver: 2, Drivers: map[string]int{"slow": 1}})
	p.enter(backup("a", 0), "slow")
	p.Copying(backup("a", 0), []string{"slow"})
	if w := p.enter(backup("b", 1), "slow"); w != "waiting for driver slow: 1 of 1 backups are being copied, 1st in line" {
		t.Error(w)
	}
	if w := p.enter(backup("c", 2), "quick", "quick"); w != "" {
		t.Error(w)
	}
	p.wantWoken(t)
	p.Leave(backup("a", 0).NamespacedName)
	p.wantWoken(t, "b")
	if w := p.enter(backup("b", 1), "slow"); w != "" {
		t.Error(w)
	}
}

// One that learns its driver must not take the place of an older one that waits for
// the cluster and has learned it before.
func TestWhoLearnsItsDriverOvertakesNobody(t *testing.T) {
	p := play(Limits{Cluster: 2, Driver: 1})
	p.enter(backup("x", 0), "d")
	p.enter(backup("old", 1), "d")   // waits for d
	p.enter(backup("y", 2), "other") // takes the second place
	if w := p.enter(backup("young", 3)); !strings.Contains(w, "2 of 2 backups run") {
		t.Error(w)
	}
	p.Copying(backup("x", 0), nil) // its place goes to young, which knows no driver yet
	p.wantWoken(t, "old")          // x holds nothing of d: old may run
	p.Leave(backup("y", 2).NamespacedName)
	p.wantWoken(t, "young")
	if w := p.enter(backup("young", 3), "d"); !strings.HasPrefix(w, "waiting for driver d: 1 of 1") {
		t.Errorf("%q", w)
	}
	p.Leave(backup("old", 1).NamespacedName)
	p.wantWoken(t, "young")
}

// One that needs two drivers would wait for ever if each were always taken by those
// that need only one.
func TestTwoDriversDoNotStarve(t *testing.T) {
	p := play(Limits{Cluster: 9, Driver: 1})
	p.enter(backup("a", 0), "x")
	p.enter(backup("both", 1), "x", "y")
	if w := p.enter(backup("b", 2), "y"); !strings.HasPrefix(w, "waiting for driver y") {
		t.Errorf("took the place kept for one ahead: %q", w)
	}
	p.Leave(backup("a", 0).NamespacedName)
	p.wantWoken(t, "both")
	p.Leave(backup("both", 1).NamespacedName)
	p.wantWoken(t, "b")
}

func TestStartKnowsAllBeforeAnyRuns(t *testing.T) {
	p := play(Limits{Cluster: 1, Driver: 1})
	p.Start([]Known{{Backup: backup("late", 5)}, {Backup: backup("copies", 0), Copying: true, Drivers: []string{"d"}}, {Backup: backup("early", 1)}})
	p.wantWoken(t, "early")
	if w := p.enter(backup("early", 1), "d"); !strings.HasPrefix(w, "waiting for driver d: 1 of 1") {
		t.Errorf("a restart forgot who copies: %q", w)
	}
	p.wantWoken(t, "late")
	p.Leave(backup("copies", 0).NamespacedName) // early waits for the cluster now
	p.wantWoken(t)
	p.Yield(backup("late", 5).NamespacedName)
	p.wantWoken(t, "early")
}

func TestMadeAgainUnderItsName(t *testing.T) {
	p := play(Limits{Cluster: 1, Driver: 1})
	p.enter(backup("a", 0), "d")
	again := backup("a", 7)
	again.UID = "another"
	p.enter(backup("b", 1))
	if w := p.enter(again); w == "" {
		t.Error("has the place of the one that is gone")
	}
	p.wantWoken(t, "b")
}

func TestErrorsHoldNoPlace(t *testing.T) {
	p := play(Limits{Cluster: 1, Driver: 1})
	p.enter(backup("a", 0), "d")
	p.enter(backup("b", 1))
	p.Yield(backup("a", 0).NamespacedName)
	p.wantWoken(t, "b")
	p.Leave(backup("nobody", 0).NamespacedName)
	if place := p.Begin(backup("a", 0).NamespacedName, []string{"d"}, noon); place.Runs {
		t.Error("began without a place")
	}
	p.enter(backup("b", 1), "d")
	p.Copying(backup("b", 1), []string{"d"})
	p.Yield(backup("b", 1).NamespacedName)
	if w := p.enter(backup("a", 0), "d"); w == "" {
		t.Error("what is being copied lost its place to an error")
	}
}

func TestToldNowAndThen(t *testing.T) {
	p := play(Limits{Cluster: 1, Driver: 1})
	p.enter(backup("a", 0))
	for _, tt := range []struct {
		after time.Duration
		tell  bool
		again time.Duration
	}{{0, true, tellEvery}, {time.Second, false, tellEvery - time.Second}, {tellEvery, true, tellEvery}, {tellEvery + 1, false, tellEvery - 1}} {
		if place := p.Enter(backup("b", 1), noon.Add(tt.after)); place.Tell != tt.tell || place.Again != tt.again {
			t.Errorf("after %s: %+v", tt.after, place)
		}
	}
}

func TestOrdinals(t *testing.T) {
	for n, want := range map[int]string{1: "1st", 2: "2nd", 3: "3rd", 4: "4th", 11: "11th", 12: "12th", 13: "13th", 21: "21st", 37: "37th", 101: "101st", 111: "111th", 213: "213th"} {
		if got := ordinal(n); got != want {
			t.Errorf("%d: %s", n, got)
		}
	}
	if fmt.Sprint(Place{Nth: 37, Used: 8, Limit: 8}) != "waiting: 8 of 8 backups run, 37th in line" {
		t.Error(Place{Nth: 37, Used: 8, Limit: 8})
	}
}
