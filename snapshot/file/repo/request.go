package repo

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"
)

// attempts are made of one request.
const attempts = 5

// final tells whether a request answered, whatever the answer is.
func final(err error) bool {
	return err == nil || errors.Is(err, ErrExists) || errors.Is(err, ErrNotFound) || errors.Is(err, ErrKept)
}

// try makes a request until it answers, and a few times at most.
func (r *Repository) try(ctx context.Context, request func() error) error {
	pause := r.options.Pause
	for n := 1; ; n++ {
		err := request()
		if final(err) || n == attempts || ctx.Err() != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(pause):
			pause *= 2
		}
	}
}

func (r *Repository) get(ctx context.Context, key string, offset, length int64) (data []byte, err error) {
	err = r.try(ctx, func() error {
		data, err = r.objects.Get(ctx, key, offset, length)
		return err
	})
	if err == nil && int64(len(data)) > length {
		err = fmt.Errorf("object %s: the store gave more than was asked for", key)
	}
	return data, err
}

func (r *Repository) has(ctx context.Context, key string) (bool, error) {
	_, err := r.get(ctx, key, 0, 1)
	if errors.Is(err, ErrNotFound) {
		return false, nil
	}
	return err == nil, err
}

// list lists all over again after a failure; again is called before.
func (r *Repository) list(ctx context.Context, prefix string, each func(Object) error, again func()) error {
	first := true
	return r.try(ctx, func() error {
		if !first {
			again()
		}
		first = false
		return r.objects.List(ctx, prefix, each)
	})
}

// put writes an object whose name nobody else has. A request of which no answer came may
// have written it: that it is there then is no error, if it is the same.
func (r *Repository) put(ctx context.Context, key string, data []byte) error {
	_, err := r.putAnswered(ctx, key, data, nil)
	return err
}

// putAnswered also tells whether each request was answered. One that was not may write
// the object later, even once it was deleted. Before each request first is asked, if given.
func (r *Repository) putAnswered(ctx context.Context, key string, data []byte, first func(context.Context) error) (answered bool, err error) {
	answered = true
	err = r.try(ctx, func() error {
		if first != nil {
			if err := first(ctx); err != nil {
				return err
			}
		}
		err := r.objects.Put(ctx, key, data)
		answered = answered && final(err)
		return err
	})
	if !errors.Is(err, ErrExists) {
		return answered, err
	}
	there, failed := r.get(ctx, key, 0, int64(len(data))+1)
	if errors.Is(failed, ErrNotFound) {
		return answered, err // deleted again
	}
	if failed != nil {
		return false, failed
	}
	if !bytes.Equal(there, data) {
		return answered, err
	}
	return answered, nil
}

// putOnce is put for a name that others may have, too, for the same content.
func (r *Repository) putOnce(ctx context.Context, key string, data []byte) error {
	err := r.put(ctx, key, data)
	if errors.Is(err, ErrExists) {
		return fmt.Errorf("object %s: another is there under that name, and is not replaced: %w", key, err)
	}
	return err
}

func (r *Repository) drop(ctx context.Context, key string) error {
	err := r.try(ctx, func() error { return r.objects.Delete(ctx, key) })
	if errors.Is(err, ErrNotFound) {
		return nil
	}
	return err
}

// inParallel does something for n things, some at once, and ends with the first error.
func (r *Repository) inParallel(ctx context.Context, n int, do func(ctx context.Context, i int) error) error {
	group, all := errgroup.WithContext(ctx)
	group.SetLimit(r.options.Parallel)
	for i := range n {
		if all.Err() != nil {
			break
		}
		group.Go(func() error { return do(all, i) })
	}
	if err := group.Wait(); err != nil {
		return err
	}
	return ctx.Err()
}
