package ec2

import "fmt"

// Failure is an error as EC2 answers it.
type Failure struct {
	Status  int    `json:"status,omitempty"`
	Code    string `json:"code"`
	Message string `json:"message,omitempty"`
}

func (f *Failure) Error() string { return f.Code + ": " + f.Message }

// fail is a client's error.
func fail(code, format string, args ...any) *Failure {
	status := 400
	switch code {
	case "UnauthorizedOperation", "AuthFailure", "AccessDenied":
		status = 403
	case "DryRunOperation":
		status = 412
	case "RequestLimitExceeded", "Unavailable":
		status = 503
	case "InternalError":
		status = 500
	}
	return &Failure{Status: status, Code: code, Message: fmt.Sprintf(format, args...)}
}

// missing is an error about an id that is not there, or not an id.
func missing(kind, id string) *Failure {
	prefix := map[string]string{"snapshot": "snap-", "volume": "vol-", "instance": "i-"}[kind]
	code := map[string][2]string{
		"snapshot": {"InvalidSnapshot.NotFound", "InvalidSnapshotID.Malformed"},
		"volume":   {"InvalidVolume.NotFound", "InvalidVolumeID.Malformed"},
		"instance": {"InvalidInstanceID.NotFound", "InvalidInstanceID.Malformed"},
	}[kind]
	if len(id) <= len(prefix) || id[:len(prefix)] != prefix {
		return fail(code[1], "The %s ID '%s' is malformed", kind, id)
	}
	return fail(code[0], "The %s '%s' does not exist.", kind, id)
}
