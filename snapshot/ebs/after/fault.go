package after

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/aws/smithy-go"
)

// kind is what can be done about an error of EC2.
type kind int

const (
	// passing: tried again soon, then less and less often. The call may have been done.
	passing kind = iota
	// throttled: EC2 wants fewer calls. Nothing is wrong, and nothing was done.
	throttled
	// full: a quota is used up by what is under way. Nothing was done.
	full
	// denied: somebody must allow it first.
	denied
	// wrong: somebody must correct a key, a parameter or a setting first.
	wrong
	// gone: the snapshot is not there.
	gone
)

// fault is an error of a step: what was to be done to which snapshot, where, EC2's code
// and what to do.
type fault struct {
	kind kind
	// unsure: the call may have been done, its answer was lost.
	unsure bool
	text   string
	err    error
}

func (f *fault) Error() string { return f.text }
func (f *fault) Unwrap() error { return f.err }

// defaultKey is how EC2 refuses to share what is encrypted with the account's own key.
const defaultKey = "default key"

// faultOf makes a fault of what EC2, STS or the network said to call, which was to do
// what: "share snapshot snap-1".
func faultOf(err error, p Place, call, what string) *fault {
	code, message, answered := codeOf(err)
	f := &fault{kind: kindOf(code, message), unsure: !answered, err: err}
	said := "EC2 gave no answer (" + oneLine(err.Error()) + ")"
	if code != "" {
		said = fmt.Sprintf("EC2 says %s: %s", code, oneLine(message))
	}
	f.text = fmt.Sprintf("%s in %s: %s; %s", what, p, said, nextStep(f.kind, p, call, message))
	return f
}

// codeOf finds EC2's or STS's code. Answered tells that the call was refused for sure;
// a 5xx may come after the deed.
func codeOf(err error) (code, message string, answered bool) {
	var said smithy.APIError
	if !errors.As(err, &said) {
		return "", "", false
	}
	code = strings.TrimPrefix(strings.TrimPrefix(said.ErrorCode(), "Client."), "Server.")
	switch code {
	case "InternalError", "InternalFailure", "ServiceUnavailable", "Unavailable", "RequestTimeout", "UnknownError":
		return code, said.ErrorMessage(), false
	}
	return code, said.ErrorMessage(), said.ErrorFault() != smithy.FaultServer
}

func kindOf(code, message string) kind {
	switch code {
	case "":
		return passing
	case "RequestLimitExceeded", "Throttling", "ThrottlingException", "ThrottledException", "RequestThrottled", "RequestThrottledException", "EC2ThrottledException", "TooManyRequestsException", "SlowDown":
		return throttled
	case "UnauthorizedOperation", "AccessDenied", "AccessDeniedException", "AuthFailure", "OptInRequired", "Blocked", "PendingVerification",
		"InvalidClientTokenId", "UnrecognizedClientException", "ExpiredToken", "ExpiredTokenException", "SignatureDoesNotMatch", "MissingAuthenticationToken", "InvalidIdentityToken":
		return denied
	case "OperationNotPermitted":
		if strings.Contains(message, defaultKey) {
			return wrong
		}
		return denied
	case "InvalidSnapshot.NotFound":
		return gone
	case "IncorrectState", "InvalidSnapshot.InUse", "IncorrectInstanceState":
		return passing
	}
	switch {
	case strings.HasSuffix(code, "LimitExceeded"), strings.HasSuffix(code, "QuotaExceeded"):
		return full
	case strings.Contains(code, "KMS"), strings.Contains(code, "Kms"), strings.HasPrefix(code, "Invalid"), strings.HasPrefix(code, "Missing"), strings.HasPrefix(code, "Unsupported"), strings.HasPrefix(code, "Malformed"), strings.HasPrefix(code, "Unknown"):
		return wrong
	}
	return passing
}

// aboutKey tells whether a message is about a KMS key.
func aboutKey(message string) bool {
	lower := strings.ToLower(message)
	return strings.Contains(lower, "kms") || strings.Contains(lower, "key")
}

func nextStep(k kind, p Place, call, message string) string {
	switch {
	case k == denied && p.Role != "":
		return fmt.Sprintf("let the controller assume the role (sts:AssumeRole in its policy and in the role's trust policy), and let the role call ec2:%s", call)
	case k == denied:
		return fmt.Sprintf("allow the controller ec2:%s, and the use of the KMS key where there is one", call)
	case k == wrong && strings.Contains(message, defaultKey):
		return "the account's default key for EBS cannot be shared: encrypt the volumes with a key of your own, or share a copy that has one (spec.ebs.copies with kmsKeyID and shareWith)"
	case k == wrong && aboutKey(message):
		return "name a key of that Region that the controller, or the role, may use: spec.ebs.copies[].kmsKeyID of the next backup, or the key's policy"
	case k == wrong:
		return "correct spec.ebs of the schedule; this backup's own cannot be changed"
	case k == full:
		return "it goes on once there is room; a larger quota can be asked for at AWS"
	case k == gone:
		return "somebody has deleted it, or the account may not see it"
	default:
		return "it is tried again"
	}
}

// The waits between two tries.
const (
	firstWait   = 15 * time.Second
	longestWait = 30 * time.Minute
	// slowly is for what somebody must put right first.
	slowly = time.Hour
	// gentle is the longest wait for what passes by itself.
	gentle = 5 * time.Minute
)

// pause is the wait after the n-th failure in a row, from 1.
func pause(k kind, n int) time.Duration {
	longest := longestWait
	switch k {
	case denied, wrong, gone:
		return slowly
	case throttled, full:
		longest = gentle
	}
	wait := firstWait
	for range min(n, 20) - 1 {
		wait = min(2*wait, longest)
	}
	return wait
}

func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }

// itemFault is the error of one item of a call that did not fail as a whole.
func itemFault(p Place, call, what string, code, message *string) *fault {
	c, m := "", ""
	if code != nil {
		c = *code
	}
	if message != nil {
		m = *message
	}
	f := &fault{kind: kindOf(c, m), err: errors.New(c)}
	f.text = fmt.Sprintf("%s in %s: EC2 says %s: %s; %s", what, p, c, oneLine(m), nextStep(f.kind, p, call, m))
	return f
}
