package file

import (
	"context"
	"errors"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/types"
)

// tended is one repository, "r1" of medic.
type tended struct {
	*fakeRepo
	last time.Time
}

func (t *tended) Due(_ context.Context, since time.Time) (map[string]string, error) {
	if t.last.Before(since) {
		return map[string]string{"r1": "medic"}, nil
	}
	return nil, nil
}
func (t *tended) Open(context.Context, string) (Repository, error) { return t.fakeRepo, nil }
func (t *tended) NoteTended(_ context.Context, _ string, at time.Time) error {
	t.last = at
	return nil
}

func newTender(now *time.Time) (*Tender, *tended) {
	of := &tended{fakeRepo: &fakeRepo{id: "r1"}}
	return &Tender{Repositories: of, Now: func() time.Time { return *now }, Known: func(_ context.Context, namespace string) (map[types.UID]bool, error) {
		return map[types.UID]bool{"known": namespace == "medic"}, nil
	}}, of
}

func TestOnceADayAndAfterDeletions(t *testing.T) {
	now := time.Now()
	tender, r := newTender(&now)
	steps := []struct {
		what string
		do   func()
		want int // collections by then
	}{
		{"at first", func() {}, 1},
		{"a moment later", func() { now = now.Add(time.Hour) }, 1},
		{"trees were deleted", func() { tender.Deleted("r1"); tender.Deleted("r1") }, 1},
		{"and the others with them", func() { now = now.Add(gather) }, 2},
		{"nothing more", func() { now = now.Add(time.Hour) }, 2},
		{"the next day", func() { now = now.Add(tendEvery); r.waiting = 1 }, 3},
		{"somebody was writing", func() { now = now.Add(tendAgain); r.waiting = 0 }, 4},
		{"and has ended", func() { now = now.Add(tendAgain) }, 4},
	}
	for _, s := range steps {
		s.do()
		if tender.Once(t.Context()); r.collects != s.want {
			t.Fatalf("%s: collected %d times, want %d", s.what, r.collects, s.want)
		}
	}
}

func TestTreesThatNobodyKnows(t *testing.T) {
	now := time.Now()
	tender, r := newTender(&now)
	r.trees = []Tree{{Name: "a", Owner: "known", Time: now.Add(-48 * time.Hour)}, {Name: "b", Owner: "lost", Time: now.Add(-48 * time.Hour)}, {Name: "c", Owner: "new", Time: now.Add(-time.Hour)}}
	tender.Once(t.Context())
	if len(r.trees) != 2 || r.trees[0].Name != "a" || r.trees[1].Name != "c" {
		t.Errorf("left %v", r.trees)
	}
	// Who cannot be asked may know all of them.
	now = now.Add(48 * time.Hour)
	tender.Known = func(context.Context, string) (map[types.UID]bool, error) {
		return map[types.UID]bool{}, errors.New("the catalog is away")
	}
	if tender.Once(t.Context()); len(r.trees) != 2 {
		t.Errorf("left %v", r.trees)
	}
}

// A bucket that is away is asked again later, not each time.
func TestABucketThatIsAway(t *testing.T) {
	now := time.Now()
	tender, r := newTender(&now)
	r.away = errors.New("no route to host")
	for range 5 {
		tender.Once(t.Context())
	}
	if r.collects != 1 {
		t.Errorf("asked %d times", r.collects)
	}
	r.away = nil
	now = now.Add(tendAgain)
	if tender.Once(t.Context()); r.collects != 2 {
		t.Errorf("asked %d times", r.collects)
	}
}
