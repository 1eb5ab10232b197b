// Package reason carries, through error chains, the word that becomes a
// condition's reason. It takes an error's origin and gives the reconciler what
// an operator can search for. It decides nothing.
package reason

import (
	"errors"
	"fmt"
	"time"
)

// Error is an error with a condition reason. Final means that trying again
// with the same input cannot help.
type Error struct {
	Reason string
	Final  bool
	// Wait is how long another attempt had better wait at least, 0 where it does not
	// matter.
	Wait time.Duration
	err  error
}

func (e *Error) Error() string { return e.err.Error() }

// Unwrap gives the cause.
func (e *Error) Unwrap() error { return e.err }

// Refuse makes a final error: the input or the cluster must change first.
func Refuse(reason, format string, args ...any) error {
	return &Error{Reason: reason, Final: true, err: fmt.Errorf(format, args...)}
}

// Failed makes an error after which another attempt may succeed.
func Failed(reason, format string, args ...any) error {
	return &Error{Reason: reason, err: fmt.Errorf(format, args...)}
}

// Later makes an error after which another attempt may succeed once some time is gone.
func Later(reason string, wait time.Duration, format string, args ...any) error {
	return &Error{Reason: reason, Wait: wait, err: fmt.Errorf(format, args...)}
}

// Of finds the outermost reason in err's chain, or gives nil.
func Of(err error) *Error {
	var e *Error
	if errors.As(err, &e) {
		return e
	}
	return nil
}
