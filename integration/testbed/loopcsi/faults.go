package loopcsi

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"google.golang.org/grpc/codes"
)

// SnapshotFaults are the knobs of a VolumeSnapshotClass, in the order in which a
// CreateSnapshot meets them.
type SnapshotFaults struct {
	FailCode     codes.Code    // fail with it and cut nothing
	FailTimes    int           // only the first n calls per volume and set of parameters; 0: always
	Hang         time.Duration // block so long first
	HangThen     string        // "fail" (DeadlineExceeded, nothing cut) or "cut"
	CutLatency   time.Duration // before the point in time
	CutStagger   time.Duration // least distance to the previous cut of the same namespace
	AckLatency   time.Duration // after the cut, before the call returns
	ReadyLatency time.Duration // after the cut, until ready_to_use
}

// VolumeFaults are the knobs of a StorageClass.
type VolumeFaults struct {
	FailCode      codes.Code
	CreateLatency time.Duration
}

// sidecarPrefix marks what the sidecars add to the parameters of a class.
const sidecarPrefix = "csi.storage.k8s.io/"

// freeKnob has no meaning: it tells two classes with otherwise equal knobs apart,
// so that each has its own count of FailTimes.
const freeKnob = "run"

func parseSnapshotFaults(parameters map[string]string) (SnapshotFaults, error) {
	f := SnapshotFaults{HangThen: "fail"}
	err := eachKnob(parameters, func(name, value string) (err error) {
		switch name {
		case "failCode":
			f.FailCode, err = parseCode(value)
		case "failTimes":
			f.FailTimes, err = strconv.Atoi(value)
		case "hang":
			f.Hang, err = time.ParseDuration(value)
		case "hangThen":
			if f.HangThen = value; value != "fail" && value != "cut" {
				err = fmt.Errorf("%q is neither fail nor cut", value)
			}
		case "cutLatency":
			f.CutLatency, err = time.ParseDuration(value)
		case "cutStagger":
			f.CutStagger, err = time.ParseDuration(value)
		case "ackLatency":
			f.AckLatency, err = time.ParseDuration(value)
		case "readyLatency":
			f.ReadyLatency, err = time.ParseDuration(value)
		default:
			err = fmt.Errorf("no such knob")
		}
		return err
	})
	return f, err
}

func parseVolumeFaults(parameters map[string]string) (VolumeFaults, error) {
	var f VolumeFaults
	err := eachKnob(parameters, func(name, value string) (err error) {
		switch name {
		case "failCode":
			f.FailCode, err = parseCode(value)
		case "createLatency":
			f.CreateLatency, err = time.ParseDuration(value)
		default:
			err = fmt.Errorf("no such knob")
		}
		return err
	})
	return f, err
}

// eachKnob refuses what it does not know: a mistyped knob would be a test that
// cannot fail.
func eachKnob(parameters map[string]string, set func(name, value string) error) error {
	for name, value := range parameters {
		if strings.HasPrefix(name, sidecarPrefix) || name == freeKnob {
			continue
		}
		if err := set(name, value); err != nil {
			return fmt.Errorf("parameter %s: %w", name, err)
		}
	}
	return nil
}

// parseCode takes a gRPC code by its name, as in "Unavailable".
func parseCode(name string) (codes.Code, error) {
	for code := codes.Canceled; code <= codes.Unauthenticated; code++ {
		if code.String() == name {
			return code, nil
		}
	}
	return codes.OK, fmt.Errorf("%q is no gRPC code", name)
}
