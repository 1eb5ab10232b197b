package queue

import (
	"fmt"
	"time"
)

// Place is where a backup stands.
type Place struct {
	// Runs: it may go on.
	Runs bool
	// Nth in line, from 1, of those that wait.
	Nth int
	// Driver that has no place left, "" where the cluster has none.
	Driver string
	// Used of Limit places are taken, of the cluster or of the driver.
	Used, Limit int
	// Tell: it has not been told for long enough to write it down.
	Tell bool
	// Again is when to ask anew only to tell; it is woken when it may run.
	Again time.Duration
}

// String says what the backup waits for.
func (p Place) String() string {
	if p.Driver != "" {
		return fmt.Sprintf("waiting for driver %s: %d of %d backups are being copied, %s in line", p.Driver, p.Used, p.Limit, ordinal(p.Nth))
	}
	return fmt.Sprintf("waiting: %d of %d backups run, %s in line", p.Used, p.Limit, ordinal(p.Nth))
}

func (q *Queue) place(e *entry, now time.Time) Place {
	if e.state != waiting {
		e.told = time.Time{}
		return Place{Runs: true}
	}
	at, _ := q.search(e)
	p := Place{Nth: at + 1, Used: q.running, Limit: q.limits.Cluster}
	if d := q.full(e, q.ahead(e)); d != "" && (q.running < q.limits.Cluster || q.used[d] >= q.limits.of(d)) {
		p.Driver, p.Used, p.Limit = d, q.used[d], q.limits.of(d)
	}
	if e.told.IsZero() || now.Sub(e.told) >= tellEvery {
		e.told, p.Tell = now, true
	}
	p.Again = e.told.Add(tellEvery).Sub(now)
	return p
}

func ordinal(n int) string {
	switch {
	case n%100 >= 11 && n%100 <= 13:
	case n%10 == 1:
		return fmt.Sprintf("%dst", n)
	case n%10 == 2:
		return fmt.Sprintf("%dnd", n)
	case n%10 == 3:
		return fmt.Sprintf("%drd", n)
	}
	return fmt.Sprintf("%dth", n)
}
