package when

import (
	"crypto/sha256"
	"encoding/binary"
	"time"
)

// Delay is an object's own share of jitter, in whole seconds from 0 to jitter: the
// same whenever it is asked, evenly spread over the objects.
func Delay(jitter time.Duration, namespace, name string) time.Duration {
	seconds := uint64(max(jitter, 0) / time.Second) //nolint:gosec // not negative
	sum := sha256.Sum256([]byte(namespace + "/" + name))
	return time.Duration(binary.BigEndian.Uint64(sum[:8])%(seconds+1)) * time.Second //nolint:gosec // at most jitter
}

// counted bounds how many instants of the past are counted one by one.
const counted = 10_000

// Due are the instants after since, up to and with now, the latest last. Of more
// than ten thousand the earliest are left out.
func (c Clock) Due(since, now time.Time) []time.Time {
	var due []time.Time
	for t := c.Next(since); !t.IsZero() && !t.After(now); t = c.Next(t) {
		due = append(due, t)
		if len(due) == 2*counted {
			due = append(due[:0], due[counted:]...)
		}
	}
	return due[max(0, len(due)-counted):]
}
