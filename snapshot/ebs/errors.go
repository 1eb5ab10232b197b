package ebs

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/aws/smithy-go"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/snapshot/reason"
)

// How long a new cut waits at least after one that was throttled. Each further attempt
// waits twice as long.
const (
	// afterRequests: the account's calls come back within seconds, if others let them.
	afterRequests = 30 * time.Second
	// perVolume is what EC2 asks to leave between two snapshots of one volume.
	perVolume = 15 * time.Second
	// afterPending: snapshots that are still being copied must be done first.
	afterPending = 5 * time.Minute
)

// throttles are the errors by which EC2 says that it is too much, and how long to wait.
var throttles = map[string]time.Duration{
	"RequestLimitExceeded": afterRequests, "Throttling": afterRequests, "ThrottlingException": afterRequests, "ThrottledException": afterRequests,
	"RequestThrottled": afterRequests, "RequestThrottledException": afterRequests, "TooManyRequestsException": afterRequests,
	"EC2ThrottledException": afterRequests, "BandwidthLimitExceeded": afterRequests, "SlowDown": afterRequests,
	"SnapshotCreationPerVolumeRateExceeded": perVolume + 5*time.Second,
	"ConcurrentSnapshotLimitExceeded":       afterPending,
}

// refusals are the errors by which EC2 says that it will not, whoever asks again.
var refusals = []string{"UnauthorizedOperation", "AuthFailure", "AccessDenied", "AccessDeniedException", "Blocked", "InvalidClientTokenId", "UnrecognizedClientException",
	"SignatureDoesNotMatch", "MissingAuthenticationToken", "OptInRequired", "PendingVerification", "InvalidVolume.NotFound", "InvalidVolumeID.Malformed", "InvalidParameterValue", "InvalidParameter",
	"MissingParameter", "InvalidInstanceID.NotFound", "TagLimitExceeded"}

// code is EC2's word for an error, "" where EC2 did not answer.
func code(err error) string {
	var e smithy.APIError
	if errors.As(err, &e) {
		return strings.TrimPrefix(strings.TrimPrefix(e.ErrorCode(), "Client."), "Server.")
	}
	return ""
}

// Throttled tells whether an error says that it is too much, and how long to wait.
func Throttled(err error) (wait time.Duration, throttled bool) {
	wait, throttled = throttles[code(err)]
	return wait, throttled
}

// said gives EC2's own words, which are enough for a person, or else the error.
func said(err error) string {
	var e smithy.APIError
	if !errors.As(err, &e) {
		return err.Error()
	}
	// What follows can only be read by those who may decode it, and is long.
	message, _, _ := strings.Cut(e.ErrorMessage(), "Encoded authorization failure message")
	return e.ErrorCode() + ": " + strings.TrimSpace(message)
}

// failure gives an error of a call its reason. what says what was being done to what.
func failure(what string, err error) error {
	if err == nil || reason.Of(err) != nil {
		return err
	}
	if wait, yes := Throttled(err); yes {
		return reason.Later(api.ReasonThrottled, wait, "%s: EC2 says %s", what, said(err))
	}
	switch c := code(err); {
	case c == "UnauthorizedOperation" || strings.HasPrefix(c, "AccessDenied"):
		return reason.Refuse(api.ReasonSnapshotFailed, "%s: EC2 says %s; allow the controller's role what files/iam/backup.json of the chart lists", what, said(err))
	case slices.Contains(refusals, c):
		return reason.Refuse(api.ReasonSnapshotFailed, "%s: EC2 says %s", what, said(err))
	case c != "":
		return reason.Failed(api.ReasonSnapshotFailed, "%s: EC2 says %s", what, said(err))
	}
	return reason.Failed(api.ReasonSnapshotFailed, "%s: no answer of EC2: %w", what, err)
}

// causeOr prefers the reason a context ended for over the error that the end of
// the context produced somewhere below.
func causeOr(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil && reason.Of(cause) != nil {
		return cause
	}
	return err
}
