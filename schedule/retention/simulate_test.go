package retention

import (
	"slices"
	"testing"
	"time"
)

func every(d time.Duration) func(time.Time) time.Time {
	return func(t time.Time) time.Time { return t.Add(d) }
}

// TestSimulateIsAPlanAfterEachBackup does by hand what Simulate claims.
func TestSimulateIsAPlanAfterEachBackup(t *testing.T) {
	seed, random := seeded(t)
	for round := range 300 {
		policy, zone := somePolicy(random), zones(t)[random.IntN(len(zones(t)))]
		start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC).Add(time.Duration(random.IntN(9000)) * time.Hour)
		gap := []time.Duration{step, time.Hour, 6 * time.Hour, 24 * time.Hour, 30 * 24 * time.Hour}[random.IntN(5)]
		next := every(gap)
		if random.IntN(2) == 0 {
			next = func(t time.Time) time.Time { return t.Add(gap + time.Duration(t.Unix()/600%7)*step) }
		}
		end := start.Add(time.Duration(random.IntN(150)) * gap)
		var there []Backup
		most := 0
		s := Simulate(policy, zone, next, start, end)
		for i, at := 0, next(start); !at.After(end); i, at = i+1, next(at) {
			there = append(there, Backup{Name: at.UTC().Format(time.RFC3339), Time: at, State: Good})
			if i >= len(s.Runs) || !s.Runs[i].Time.Equal(at) || s.Runs[i].Kept != len(there) {
				t.Fatalf("seed %d round %d: policy %+v zone %s, run %d at %s: there are %d, the simulation says %+v", seed, round, policy, zone, i, at, len(there), s.Runs[min(i, len(s.Runs)-1)])
			}
			most = max(most, len(there))
			there = keptOf(Plan(policy, zone, at, there))
			if s.Runs[i].Left != len(there) {
				t.Fatalf("seed %d round %d: policy %+v zone %s, run %d at %s leaves %d, the simulation says %+v", seed, round, policy, zone, i, at, len(there), s.Runs[i])
			}
		}
		var left []time.Time
		for _, d := range s.Left {
			left = append(left, d.Time)
			if !d.Keep {
				t.Fatalf("seed %d round %d: %s is left and not kept", seed, round, d.Time)
			}
		}
		slices.SortFunc(there, func(a, b Backup) int { return b.Time.Compare(a.Time) })
		if !slices.EqualFunc(left, there, func(a time.Time, b Backup) bool { return a.Equal(b.Time) }) || s.Most != most {
			t.Fatalf("seed %d round %d: policy %+v zone %s\nleft %v, at most %d\nwant %v, %d", seed, round, policy, zone, left, s.Most, there, most)
		}
	}
}

func TestSimulate(t *testing.T) {
	start := time.Date(2026, 1, 1, 0, 30, 0, 0, time.UTC)
	s := Simulate(Policy{Hourly: 24, Daily: 7, Weekly: 4, Monthly: 12}, time.UTC, every(time.Hour), start, start.AddDate(0, 0, 400))
	if len(s.Runs) != 9600 || s.Runs[0].Kept != 1 || !s.Left[0].Time.Equal(start.AddDate(0, 0, 400)) {
		t.Errorf("%d runs, the first %+v, the newest left %s", len(s.Runs), s.Runs[0], s.Left[0].Time)
	}
	// 24 hours lie on two days, so that the 7 days add 5; 2 weeks end within them, so
	// that the 4 weeks add 2 or 3; of the 12 months 11 or 10 are older.
	if len(s.Left) < 40 || len(s.Left) > 45 || s.Most > 46 {
		t.Errorf("%d are left, %d at most", len(s.Left), s.Most)
	}
	if s := Simulate(Policy{Last: 1}, time.UTC, func(time.Time) time.Time { return time.Time{} }, start, start.AddDate(1, 0, 0)); len(s.Runs)+len(s.Left)+s.Most != 0 {
		t.Errorf("never due: %+v", s)
	}
	if s := Simulate(Policy{Last: 1}, time.UTC, every(0), start, start.AddDate(1, 0, 0)); len(s.Runs) != 1 {
		t.Errorf("a clock that stands still: %d runs", len(s.Runs))
	}
	if s := Simulate(Policy{Unlimited: true}, time.UTC, every(24*time.Hour), start, start.AddDate(0, 0, 30)); len(s.Left) != 30 || s.Most != 30 {
		t.Errorf("without retention: %d left, %d at most", len(s.Left), s.Most)
	}
}
