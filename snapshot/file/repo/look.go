package repo

import (
	"context"
	"strings"
	"time"
)

// Seen is what can be seen of a repository without its key.
type Seen struct {
	ID string
	// Trees in the order of their times.
	Trees []TreeName
	// Packs there are, and their bytes.
	Packs int
	Bytes int64
	// SealedKeys is how often the key lies there, each for some recipients.
	SealedKeys int
	// Writers that are writing, or died within the last days; Newest is when the last of
	// them said so.
	Writers int
	Newest  time.Time
}

// Look tells what is there of a repository. It needs no key, and reads no object.
func Look(ctx context.Context, objects Objects, id string) (Seen, error) {
	if err := CheckID(id); err != nil {
		return Seen{}, err
	}
	r := &Repository{objects: objects, id: id, options: Options{}.complete()}
	s := Seen{ID: id}
	var err error
	if s.Trees, err = r.Trees(ctx); err != nil {
		return s, err
	}
	packs, err := r.packs(ctx)
	if err != nil {
		return s, err
	}
	s.Packs = len(packs)
	for _, o := range packs {
		s.Bytes += o.Size
	}
	err = r.list(ctx, r.at(keysIn, ""), func(o Object) error {
		if strings.HasSuffix(o.Key, keyEnd) {
			s.SealedKeys++
		}
		return nil
	}, func() { s.SealedKeys = 0 })
	if err != nil {
		return s, err
	}
	writers, err := r.intents(ctx)
	for _, w := range writers {
		if w.end.IsZero() {
			s.Writers++
			s.Newest = later(s.Newest, w.last)
		}
	}
	return s, err
}
