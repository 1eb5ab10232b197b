package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

// way is one way to copy.
type way struct {
	name                          string
	cp, sync                      bool
	compressed, unsealed, restore bool
}

var ways = []way{
	{name: "cp -r", cp: true},
	{name: "cp -r, sync", cp: true, sync: true},
	{name: "repository, neither", unsealed: true},
	{name: "repository, compressed", compressed: true, unsealed: true},
	{name: "repository, sealed"},
	{name: "repository, both", compressed: true},
	{name: "repository, both, and back", compressed: true, restore: true},
}

// size is what was measured of one size of data.
type size struct {
	mib   int64
	turns map[string][]answer // by way
}

type run struct {
	o     options
	say   io.Writer
	sizes []size
}

func (r *run) all(ctx context.Context) error {
	for i, mib := range r.o.sizes {
		rounds := 1
		if i == 0 {
			rounds = r.o.rounds
		}
		s := size{mib: mib, turns: map[string][]answer{}}
		err := r.one(ctx, &s, rounds)
		r.sizes = append(r.sizes, s)
		if err != nil {
			return fmt.Errorf("%d MiB: %w", mib, err)
		}
	}
	return nil
}

func (r *run) one(ctx context.Context, s *size, rounds int) (err error) {
	from, to, back := filepath.Join(r.o.dir, "data"), filepath.Join(r.o.dir, "copy"), filepath.Join(r.o.dir, "back")
	defer func() { err = errors.Join(err, os.RemoveAll(from), os.RemoveAll(to), os.RemoveAll(back)) }()
	if err := makeFiles(from, s.mib<<20); err != nil {
		return err
	}
	for round := range rounds {
		for _, w := range ways {
			if w.restore && round > 0 {
				continue
			}
			// What an earlier turn left to be written is not this one's to wait for.
			if err := errors.Join(os.RemoveAll(to), os.RemoveAll(back), os.MkdirAll(to, 0o750), os.MkdirAll(back, 0o755), syncAt(r.o.dir)); err != nil {
				return err
			}
			a, err := r.turn(ctx, w, from, to, back)
			if err != nil {
				return fmt.Errorf("%s: %w", w.name, err)
			}
			s.turns[w.name] = append(s.turns[w.name], a)
			_, _ = fmt.Fprintf(r.say, "%d MiB, round %d, %s: %s\n", s.mib, round+1, w.name, a.Took.Round(time.Millisecond))
		}
	}
	return nil
}

func (r *run) turn(ctx context.Context, w way, from, to, back string) (answer, error) {
	if w.cp {
		return plain(ctx, from, to, w.sync)
	}
	o := order{From: from, To: to, Compressed: w.compressed, Unsealed: w.unsealed}
	if w.restore {
		o.Back = back
	}
	a, err := child(ctx, o, r.say)
	if err == nil && w.restore {
		if out, diff := exec.CommandContext(ctx, "diff", "-rq", filepath.Join(from, "shards"), filepath.Join(back, "shards")).CombinedOutput(); diff != nil {
			return a, fmt.Errorf("what came back is not what was there: %w: %s", diff, out)
		}
	}
	return a, err
}
