package retention

import (
	"encoding/binary"
	"fmt"
	"slices"
	"testing"
	"time"
)

// written reads a history out of bytes, so that a fuzzer can steer it: a policy, a zone,
// the time, and six bytes for each backup. Times are multiples of step in this century.
func written(text []byte, zones []*time.Location) history {
	next := func(most int) int {
		if len(text) == 0 {
			return 0
		}
		b := text[0]
		text = text[1:]
		return int(b) % (most + 1)
	}
	instant := func() time.Time {
		var b [4]byte
		text = text[copy(b[:], text):]
		return time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC).Add(time.Duration(binary.BigEndian.Uint32(b[:])%(50*365*24*6)) * step)
	}
	p := Policy{Last: next(9), Hourly: next(30), Daily: next(9), Weekly: next(9), Monthly: next(14), Yearly: next(9), FailedLast: next(9),
		FailedWithin: Span{Days: next(60), Hours: next(30)}, Within: Span{Years: next(3), Months: next(15), Days: next(90), Hours: next(100)}, Unlimited: next(40) == 40}
	h := history{policy: p, zone: zones[next(len(zones)-1)], now: instant()}
	for i := 0; len(text) >= 6 && i < 60; i++ {
		b := Backup{Name: fmt.Sprintf("b%02d", i), State: State(next(int(Deleting))), Time: instant()}
		switch b.Verified = b.State == Good && len(text)%2 == 0; next(7) {
		case 1:
			b.Held = "audit"
		case 2:
			b.InUse = "restore r"
		case 3:
			b.LockedUntil = h.now.Add(time.Duration(i-2) * time.Hour)
		case 4:
			b.Foreign = "manual"
		case 5:
			b.Time = h.now.Add(-time.Duration(i) * time.Hour) // near the others
		}
		if b.State == Disproved {
			b.Disproved = b.Time.Add(time.Duration(i) * step)
		}
		h.backups = append(h.backups, b)
	}
	return h
}

// FuzzPlan holds the plan against the oracle, and against itself: what is planned twice
// is removed once, and nothing ends without its newest good backup.
func FuzzPlan(f *testing.F) {
	f.Add([]byte{})
	f.Add([]byte("\x03\x18\x07\x04\x0c\x02\x02\x1e\x00\x00\x01\x00\x00\x00\x02" + "\x00\x15\x00\x00" + "\x01\x00\x14\xff\x00\x00" + "\x01\x00\x14\xfe\x00\x05" + "\x02\x00\x14\x00\x00\x00" + "\x03\x00\x14\xf0\x00\x00"))
	f.Fuzz(func(t *testing.T, text []byte) {
		h := written(text, zones(t))
		plan := Plan(h.policy, h.zone, h.now, h.backups)
		good, keptGood := false, false
		for _, d := range plan {
			want := oracle(h.policy, h.zone, h.now, h.backups, d.Backup)
			got := slices.Sorted(slices.Values(d.Why))
			slices.Sort(want)
			if d.Keep != (len(want) > 0) || d.Keep && !slices.Equal(got, want) {
				t.Fatalf("%s\n%+v: kept %v %q, the oracle says %q", h, d.Backup, d.Keep, got, want)
			}
			good, keptGood = good || countable(d.Backup, h.now), keptGood || countable(d.Backup, h.now) && d.Keep
		}
		if good && !keptGood {
			t.Fatalf("%s\nno good backup is left", h)
		}
		for _, d := range Plan(h.policy, h.zone, h.now, keptOf(plan)) {
			if !d.Keep {
				t.Fatalf("%s\nthe second plan removes %s, too: %q", h, d.Name, d.Why)
			}
		}
	})
}
