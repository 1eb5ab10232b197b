// Package probe tries, from inside a pod, what the pod's network lets it reach.
// In: addresses. Out: a report, a line of JSON. It judges nothing: what a report
// proves is for those to say who know what can be reached from elsewhere.
package probe

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	api "github.com/medic/cht-backup/api/v1alpha1"
)

const (
	// Rounds bounds the tries. A network plugin may apply its policies a moment after
	// a pod has started.
	Rounds = 15
	// InARow is how many rounds must find the pod closed in, one after the other.
	InARow = 3
	pause  = time.Second
	// dialWithin is how long a connection may take: a policy that drops packets is
	// seen as a timeout.
	dialWithin = 2 * time.Second
)

// Target is an address to try.
type Target struct {
	Kind    api.TargetKind `json:"kind"`
	Address string         `json:"address"`
	Outcome api.Outcome    `json:"outcome,omitempty"`
}

// String gives KIND=ADDRESS.
func (t Target) String() string { return string(t.Kind) + "=" + t.Address }

// ParseTarget reads KIND=ADDRESS.
func ParseTarget(text string) (Target, error) {
	kind, address, ok := strings.Cut(text, "=")
	t := Target{Kind: api.TargetKind(kind), Address: address}
	if !ok || !slices.Contains([]api.TargetKind{api.TargetOwn, api.TargetSource, api.TargetAPIServer, api.TargetOutside}, t.Kind) {
		return t, fmt.Errorf("target %q is not KIND=HOST:PORT", text)
	}
	if _, _, err := net.SplitHostPort(address); err != nil {
		return t, fmt.Errorf("target %q: %w", text, err)
	}
	return t, nil
}

// Report is what was found.
type Report struct {
	Rounds  int      `json:"rounds"`
	Targets []Target `json:"targets"`
}

// Parse reads a report.
func Parse(text string) (Report, error) {
	var r Report
	err := json.Unmarshal([]byte(text), &r)
	if err == nil && len(r.Targets) == 0 {
		err = errors.New("no targets")
	}
	if err != nil {
		return r, fmt.Errorf("report %q: %w", text, err)
	}
	return r, nil
}

// Dialer opens a TCP connection and closes it.
type Dialer func(ctx context.Context, address string) error

// Dial is the Dialer of the network.
func Dial(ctx context.Context, address string) error {
	conn, err := (&net.Dialer{Timeout: dialWithin}).DialContext(ctx, "tcp", address)
	if err != nil {
		return err
	}
	return conn.Close()
}

// Run tries all targets in rounds, until the pod was found closed in InARow times
// in a row, or the rounds are over. An outcome is the worst of the last InARow
// rounds: Connected for what must not be reached, anything else for what must.
func Run(ctx context.Context, dial Dialer, targets []Target) (Report, error) {
	var last [][]Target
	row := 0
	for round := 1; ; round++ {
		now := Once(ctx, dial, targets)
		if ctx.Err() != nil {
			return Report{}, ctx.Err()
		}
		last = append(last, now)
		last = last[max(0, len(last)-InARow):]
		if row++; slices.ContainsFunc(now, bad) {
			row = 0
		}
		if row == InARow || round == Rounds {
			return Report{Rounds: round, Targets: worst(last)}, nil
		}
		select {
		case <-ctx.Done():
			return Report{}, ctx.Err()
		case <-time.After(pause):
		}
	}
}

// bad tells whether an outcome is not that of a pod that is closed in.
func bad(t Target) bool { return (t.Kind == api.TargetOwn) != (t.Outcome == api.OutcomeConnected) }

func worst(rounds [][]Target) []Target {
	out := slices.Clone(rounds[len(rounds)-1])
	for _, round := range rounds {
		for i, t := range round {
			if bad(t) {
				out[i] = t
			}
		}
	}
	return out
}

// Once tries all targets once, all at the same time.
func Once(ctx context.Context, dial Dialer, targets []Target) []Target {
	out := slices.Clone(targets)
	var tries sync.WaitGroup
	for i := range out {
		tries.Go(func() { out[i].Outcome = outcome(dial(ctx, out[i].Address)) })
	}
	tries.Wait()
	return out
}

// outcome tells a silence from an answer: a dropped packet and a host without a
// route mean different things.
func outcome(err error) api.Outcome {
	var timeout net.Error
	switch {
	case err == nil:
		return api.OutcomeConnected
	case errors.Is(err, syscall.ECONNREFUSED):
		return api.OutcomeRefused
	case errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH):
		return api.OutcomeUnreachable
	case errors.As(err, &timeout) && timeout.Timeout(), errors.Is(err, context.DeadlineExceeded):
		return api.OutcomeTimeout
	}
	return api.OutcomeUnreachable
}
