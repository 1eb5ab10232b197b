package exit

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	utilnet "k8s.io/apimachinery/pkg/util/net"
	"sigs.k8s.io/controller-runtime/pkg/client/apiutil"
)

// Code is the process's exit code.
type Code int

// The exit codes. They are part of the interface: never renumber.
const (
	Good        Code = 0
	Failed      Code = 1
	Usage       Code = 2
	TimedOut    Code = 3
	Refused     Code = 4
	Unreachable Code = 5
	// Trouble: the command did its work, and found something wrong.
	Trouble     Code = 6
	Interrupted Code = 130
)

// Help documents the codes.
const Help = `Exit codes:
  0    done, and good (with --no-wait: created)
  1    the backup or restore failed, or was deleted meanwhile
  2    wrong usage or input; nothing was started
  3    --timeout passed while waiting; what was begun goes on in the cluster
  4    refused: not found, not allowed, not ready, in conflict; nothing was started
  5    the cluster cannot be reached or does not answer as it should
  6    something is wrong (doctor, and status --exit-code)
  130  interrupted (Ctrl-C); what was begun goes on in the cluster`

type coded struct {
	code Code
	err  error
}

func (c *coded) Error() string { return c.err.Error() }
func (c *coded) Unwrap() error { return c.err }

// Errorf makes an error with a code.
func Errorf(code Code, format string, args ...any) error {
	return &coded{code: code, err: fmt.Errorf(format, args...)}
}

// Of gives an error's code. What carries none comes from parsing the command
// line and is wrong usage.
func Of(err error) Code {
	var c *coded
	switch {
	case err == nil:
		return Good
	case errors.As(err, &c):
		return c.code
	default:
		return Usage
	}
}

// Under corrects an error for what ended ctx: a request that Ctrl-C cut off
// looks like an unreachable cluster.
func Under(ctx context.Context, err error) error {
	if err != nil && ctx.Err() != nil && Of(err) == Unreachable {
		return Errorf(Interrupted, "interrupted: %w", err)
	}
	return err
}

// Explain gives an API error a code and a next step. doing says what was being
// done to which object. Errors that have a code already pass through.
func Explain(doing string, err error) error {
	var c *coded
	switch {
	case err == nil:
		return nil
	case errors.As(err, &c):
		return err
	case errors.Is(err, context.Canceled):
		return Errorf(Interrupted, "%s: interrupted", doing)
	case UnknownKind(err):
		return Errorf(Refused, "%s: this cluster does not know the kinds of cht-backup; install the chart cht-backup, or choose another --context", doing)
	case apierrors.IsForbidden(err):
		return Errorf(Refused, "%s: %w; ask whoever administers the cluster for that right", doing, err)
	case apierrors.IsInvalid(err), apierrors.IsBadRequest(err):
		return Errorf(Usage, "%s: %w; correct the input", doing, err)
	case apierrors.IsNotFound(err):
		return Errorf(Refused, "%s: %w; check the name and the namespace (`kubectl cht list -A`)", doing, err)
	case apierrors.IsAlreadyExists(err):
		return Errorf(Refused, "%s: %w; choose another name", doing, err)
	case apierrors.IsConflict(err):
		return Errorf(Refused, "%s: %w; somebody changes it at the same time, try again", doing, err)
	case apierrors.IsUnauthorized(err):
		return Errorf(Unreachable, "%s: %w; log in to the cluster again", doing, err)
	default:
		return Errorf(Unreachable, "%s: %w; check that the cluster can be reached (`kubectl version`)", doing, err)
	}
}

// UnknownKind tells whether the cluster does not know a kind of cht-backup. It also
// covers a discovery that failed because the group is absent.
func UnknownKind(err error) bool {
	var discovery *apiutil.ErrResourceDiscoveryFailed
	if errors.As(err, &discovery) {
		for _, each := range *discovery {
			if !apierrors.IsNotFound(each) {
				return false
			}
		}
		return true
	}
	return meta.IsNoMatchError(err)
}

// Transient tells whether asking again may help: the network, or a server that
// is overloaded or restarts.
func Transient(err error) bool {
	var netErr net.Error
	var urlErr *url.Error
	return apierrors.IsServerTimeout(err) || apierrors.IsTimeout(err) || apierrors.IsTooManyRequests(err) ||
		apierrors.IsInternalError(err) || apierrors.IsServiceUnavailable(err) || apierrors.IsResourceExpired(err) || apierrors.IsGone(err) ||
		utilnet.IsConnectionRefused(err) || utilnet.IsConnectionReset(err) || utilnet.IsProbableEOF(err) ||
		errors.As(err, &netErr) || errors.As(err, &urlErr)
}
