package ec2

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"
)

// Span is a duration with a spread; its JSON is "300ms" or "300ms..2s".
type Span struct{ Least, Most time.Duration }

// Exactly has no spread.
func Exactly(d time.Duration) Span { return Span{d, d} }

// Between is evenly spread.
func Between(least, most time.Duration) Span { return Span{least, most} }

// pick draws one.
func (s Span) pick(r *rand.Rand) time.Duration {
	if s.Most <= s.Least {
		return s.Least
	}
	return s.Least + time.Duration(r.Int64N(int64(s.Most-s.Least)+1))
}

// MarshalJSON writes it as text.
func (s Span) MarshalJSON() ([]byte, error) {
	if s.Most <= s.Least {
		return json.Marshal(s.Least.String())
	}
	return json.Marshal(s.Least.String() + ".." + s.Most.String())
}

// UnmarshalJSON reads what MarshalJSON writes.
func (s *Span) UnmarshalJSON(b []byte) (err error) {
	var text string
	if err := json.Unmarshal(b, &text); err != nil {
		return err
	}
	least, most, spread := strings.Cut(text, "..")
	if s.Least, err = time.ParseDuration(least); err != nil {
		return err
	}
	s.Most = s.Least
	if spread {
		if s.Most, err = time.ParseDuration(most); err != nil {
			return err
		}
	}
	if s.Least < 0 || s.Most < s.Least {
		return fmt.Errorf("%q does not grow from its first to its second duration", text)
	}
	return nil
}

// sleep waits, unless ctx ends first.
func sleep(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
