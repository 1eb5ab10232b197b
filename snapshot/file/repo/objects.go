package repo

import (
	"context"
	"errors"
	"time"
)

// Objects is where repositories lie: a bucket. All methods may be called at once. What
// List gives, and what Get finds, is what was put before: as all stores of today are.
type Objects interface {
	// Put writes an object, whole or not at all. ErrExists if there is one: none is ever
	// replaced. After any other error it may be there, or come to be there.
	Put(ctx context.Context, key string, data []byte) error
	// Get gives length bytes from offset on, fewer only where the object ends.
	// ErrNotFound if there is none.
	Get(ctx context.Context, key string, offset, length int64) ([]byte, error)
	// List tells each object whose key begins with prefix, in the order of their keys. It
	// ends with the first error that each returns.
	List(ctx context.Context, prefix string, each func(Object) error) error
	// Delete removes an object. One that is gone already is good. ErrKept if the store
	// refuses.
	Delete(ctx context.Context, key string) error
}

// Object is what a list tells of one.
type Object struct {
	Key  string
	Size int64
	// Time is when it was put, by the store's own clock.
	Time time.Time
}

var (
	// ErrExists is the answer of a Put where an object is.
	ErrExists = errors.New("it is there already")
	// ErrNotFound is the answer of a Get where none is.
	ErrNotFound = errors.New("it is not there")
	// ErrKept is the answer of a Delete that the store refuses: the object is locked, or
	// the right lacks.
	ErrKept = errors.New("the store keeps it")
)
