package repo

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
)

// A writer has an object below writers/ as long as it writes: SESSION_0000, by whose time
// it is known when the session began, and the newest of SESSION_0001 and so on, by whose
// time that it goes on. It has ended when all are gone; or some time after SESSION_end was
// put, which is done where they cannot be deleted, and where a request was given up that
// may still take effect.
const (
	intentForm = "%s_%04d"
	intentEnd  = "_end"

	// renewEvery is how often a session says that it goes on, and renewAgain how soon
	// after that failed.
	renewEvery = time.Hour
	renewAgain = 10 * time.Minute
	// stale is how long ago a session may have said so that commits a tree. It is far from
	// expiry, so that neither clocks nor slow requests matter.
	stale = 24 * time.Hour
	// expiry is after how long by the store's clock one that says no more has died.
	expiry = 7 * 24 * time.Hour
	// settled is how long after it was made a request takes no effect any more, be it
	// answered or not. Stores finish or drop it within seconds or minutes.
	settled = 24 * time.Hour
)

// writing is what is known of a session by its intents.
type writing struct {
	began, last time.Time
	// end is when it said that it had ended; zero if it did not.
	end  time.Time
	keys []string
}

// until is when it counts no more, by the store's clock.
func (w *writing) until() time.Time {
	if !w.end.IsZero() {
		return w.end.Add(settled)
	}
	return w.last.Add(expiry)
}

// intents lists the sessions that have not ended, or whose end was not tidied up.
func (r *Repository) intents(ctx context.Context) (map[string]*writing, error) {
	prefix := r.at(writersIn, "")
	all := map[string]*writing{}
	err := r.list(ctx, prefix, func(o Object) error {
		session, no, ok := strings.Cut(strings.TrimPrefix(o.Key, prefix), "_")
		if !ok || session == "" || no == "" {
			return nil
		}
		w := all[session]
		if w == nil {
			w = &writing{began: o.Time, last: o.Time}
			all[session] = w
		}
		if o.Time.Before(w.began) {
			w.began = o.Time
		}
		if o.Time.After(w.last) {
			w.last = o.Time
		}
		if "_"+no == intentEnd {
			w.end = o.Time
		}
		w.keys = append(w.keys, o.Key)
		return nil
	}, func() { clear(all) })
	if err != nil {
		return nil, fmt.Errorf("list who writes: %w", err)
	}
	return all, nil
}

// intent is a session's own.
type intent struct {
	repo    *Repository
	session string
	next    int
	// last is when the newest was begun to be put, by our own clock.
	last time.Time
	keys []string
}

// renew says under a new name that the session goes on, and takes the one before back.
func (i *intent) renew(ctx context.Context) error {
	at := i.repo.options.Now()
	key := i.repo.at(writersIn, fmt.Sprintf(intentForm, i.session, i.next))
	i.next++
	i.keys = append(i.keys, key) // whatever the answer: it may come to be there
	if err := i.repo.put(ctx, key, []byte(i.session+"\n")); err != nil {
		return fmt.Errorf("say who writes: object %s: %w", key, err)
	}
	i.last = at
	// The first stays, since it tells when the session began.
	kept := i.keys[:1]
	for n, old := range i.keys[1:] {
		if n < len(i.keys)-2 && i.repo.objects.Delete(ctx, old) == nil {
			continue
		}
		kept = append(kept, old)
	}
	i.keys = kept
	return nil
}

// fresh tells whether a tree may be committed.
func (i *intent) fresh() error {
	if age := i.repo.options.Now().Sub(i.last); age > stale {
		return fmt.Errorf("this session could not say for %s that it goes on, and may be taken for dead: what it uses may be deleted. Begin a new one; what was written is found again", age.Round(time.Minute))
	}
	return nil
}

// drop says that the session has ended.
func (i *intent) drop(ctx context.Context) error {
	var failed error
	for _, key := range i.keys {
		if err := i.repo.drop(ctx, key); err != nil && failed == nil {
			failed = fmt.Errorf("delete object %s: %w", key, err)
		}
	}
	if errors.Is(failed, ErrKept) {
		return i.settle(ctx)
	}
	return failed
}

// settle says that the session has ended, and that it is to be waited for a while.
func (i *intent) settle(ctx context.Context) error {
	return i.repo.put(ctx, i.repo.at(writersIn, i.session+intentEnd), []byte(i.session+"\n"))
}
