package retention

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// zones with daylight saving and without, with odd offsets, with changes of half an
// hour and at midnight.
func zones(t testing.TB) []*time.Location {
	t.Helper()
	all, err := loadZones()
	if err != nil {
		t.Fatal(err)
	}
	return all
}

var loadZones = sync.OnceValues(func() (all []*time.Location, err error) {
	for _, name := range []string{"Etc/UTC", "Africa/Nairobi", "Europe/Paris", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu", "Asia/Beirut", "America/St_Johns", "America/Nuuk", "Pacific/Chatham"} {
		zone, failed := time.LoadLocation(name)
		all, err = append(all, zone), errors.Join(err, failed)
	}
	return all, err
})

// repeat is the seed that somebody wants again, or 0.
func repeat(t *testing.T) uint64 {
	t.Helper()
	text := os.Getenv("RETENTION_SEED")
	if text == "" {
		return 0
	}
	seed, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		t.Fatalf("RETENTION_SEED: %v", err)
	}
	return seed
}

func firstWord(s string) string {
	return strings.FieldsFunc(s, func(r rune) bool { return r == ' ' || r == ',' || r == ':' })[0]
}

// history is what a plan is asked about.
type history struct {
	policy  Policy
	zone    *time.Location
	now     time.Time
	backups []Backup
}

func (h history) String() string {
	text := fmt.Sprintf("policy %+v, zone %s, now %s", h.policy, h.zone, h.now.UTC().Format(time.RFC3339))
	for _, b := range h.backups {
		text += fmt.Sprintf("\n  %s %s %s verified=%v", b.Name, b.Time.UTC().Format(time.RFC3339), b.State, b.Verified)
	}
	return text
}

// someTimes are instants as a schedule, or somebody by hand, makes them: from minutes
// to months apart, some at one instant, some near a change of the clocks.
func someTimes(random *rand.Rand, many int) []time.Time {
	changes := []time.Time{time.Date(2026, 3, 29, 1, 0, 0, 0, time.UTC), time.Date(2026, 10, 25, 1, 0, 0, 0, time.UTC), time.Date(2026, 11, 1, 6, 0, 0, 0, time.UTC), time.Date(2026, 4, 4, 15, 0, 0, 0, time.UTC),
		time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(2028, 2, 29, 12, 0, 0, 0, time.UTC)}
	at := changes[random.IntN(len(changes))].Add(time.Duration(random.Int64N(200)-100) * step)
	gaps := []time.Duration{step, time.Hour, 6 * time.Hour, 24 * time.Hour, 24 * time.Hour, 7 * 24 * time.Hour, 40 * 24 * time.Hour}
	gap := gaps[random.IntN(len(gaps))]
	var times []time.Time
	for range many {
		times = append(times, at)
		switch random.IntN(8) {
		case 0: // at one instant
		case 1:
			at = at.Add(-(gaps[random.IntN(len(gaps))]))
		case 2:
			at = at.Add(-(gap + time.Duration(random.IntN(20))*step))
		default:
			at = at.Add(-gap)
		}
	}
	return times
}

func somePolicy(random *rand.Rand) Policy {
	count := func() int {
		if random.IntN(2) == 0 {
			return 0
		}
		return 1 + random.IntN(9)
	}
	p := Policy{Last: count(), Hourly: count(), Daily: count(), Weekly: count(), Monthly: count(), Yearly: count(), FailedLast: count(), FailedWithin: Span{Days: random.IntN(60), Hours: random.IntN(30)}}
	switch random.IntN(6) {
	case 0:
		p.Within = Span{Days: random.IntN(90)}
	case 1:
		p.Within = Span{Years: random.IntN(2), Months: random.IntN(15), Days: random.IntN(3)}
	case 2:
		p.Within = Span{Hours: random.IntN(100)}
	}
	p.Unlimited = random.IntN(40) == 0
	return p
}

func someHistory(random *rand.Rand, zones []*time.Location) history {
	h := history{policy: somePolicy(random), zone: zones[random.IntN(len(zones))]}
	times := someTimes(random, random.IntN(40))
	h.now = time.Date(2028, 3, 1, 0, 0, 0, 0, time.UTC)
	if len(times) > 0 {
		h.now = slices.MaxFunc(times, time.Time.Compare).Add(time.Duration(random.IntN(400)) * time.Hour)
		if random.IntN(4) == 0 { // the clock stepped back
			h.now = times[random.IntN(len(times))]
		}
	}
	odd := random.IntN(3) // some histories are all good
	for i, at := range times {
		b := Backup{Name: fmt.Sprintf("b%03d", random.IntN(1000)*100+i), Time: at, State: Good, Verified: random.IntN(5) == 0}
		if odd > 0 {
			b = someOddity(random, b, h.now)
		}
		h.backups = append(h.backups, b)
	}
	return h
}

func someOddity(random *rand.Rand, b Backup, now time.Time) Backup {
	switch random.IntN(10) {
	case 0, 1:
		b.State, b.Verified = Failed, false
	case 2:
		b.State, b.Verified, b.Disproved = Disproved, false, b.Time.Add(time.Duration(random.IntN(1000))*step)
	case 3:
		b.State = Unfinished
	case 4:
		b.State = Deleting
	}
	switch random.IntN(15) {
	case 0:
		b.Held = "audit"
	case 1:
		b.InUse = "restore r"
	case 2:
		b.LockedUntil = now.Add(time.Duration(random.IntN(5)-2) * time.Hour)
	case 3:
		b.Foreign = "manual"
	}
	return b
}
