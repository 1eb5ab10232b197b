package probe

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"os"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	api "github.com/medic/cht-backup/api/v1alpha1"
)

const own, source, outside = "10.0.0.1:5984", "10.0.0.2:5984", "192.0.2.1:443"

func targets() []Target {
	return []Target{{Kind: api.TargetOwn, Address: own}, {Kind: api.TargetSource, Address: source}, {Kind: api.TargetOutside, Address: outside}}
}

// network answers each address's tries one after the other; the last answer stays.
type network struct {
	mu      sync.Mutex
	answers map[string][]error
	tries   map[string]int
}

func (n *network) dial(_ context.Context, address string) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.tries == nil {
		n.tries = map[string]int{}
	}
	all := n.answers[address]
	i := min(n.tries[address], len(all)-1)
	n.tries[address]++
	return all[i]
}

func TestRun(t *testing.T) {
	refused, silent, noRoute := os.NewSyscallError("connect", syscall.ECONNREFUSED), error(&net.OpError{Err: os.ErrDeadlineExceeded}), os.NewSyscallError("connect", syscall.ENETUNREACH)
	late := func(n int, then error) []error { return append(make([]error, n), then) }
	for _, tt := range []struct {
		name                 string
		own, source, outside []error
		want                 [3]api.Outcome
		rounds               int
	}{
		{"closed in", []error{nil}, []error{silent}, []error{refused}, [3]api.Outcome{"Connected", "Timeout", "Refused"}, InARow},
		{"no way out for want of a route", []error{nil}, []error{silent}, []error{noRoute}, [3]api.Outcome{"Connected", "Timeout", "Unreachable"}, InARow},
		{"open", []error{nil}, []error{nil}, []error{silent}, [3]api.Outcome{"Connected", "Connected", "Timeout"}, Rounds},
		{"the policy comes late", []error{nil}, late(4, silent), []error{silent}, [3]api.Outcome{"Connected", "Timeout", "Timeout"}, 4 + InARow},
		{"the network comes late", []error{silent, silent, nil}, []error{silent}, []error{silent}, [3]api.Outcome{"Connected", "Timeout", "Timeout"}, 2 + InARow},
		{"nothing answers at all", []error{silent}, []error{silent}, []error{silent}, [3]api.Outcome{"Timeout", "Timeout", "Timeout"}, Rounds},
		{"open now and then: a hole is a hole", []error{nil}, []error{silent, silent, nil, silent, silent, nil, silent, silent, nil, silent, silent, nil, silent, nil, silent}, []error{silent}, [3]api.Outcome{"Connected", "Connected", "Timeout"}, Rounds},
		{"its own CouchDB answers now and then", []error{nil, silent, nil, silent, nil, silent, nil, silent, nil, silent, nil, silent, nil, silent, nil}, []error{silent}, []error{silent}, [3]api.Outcome{"Timeout", "Timeout", "Timeout"}, Rounds},
	} {
		t.Run(tt.name, func(t *testing.T) {
			// In a bubble the pauses take no time.
			synctest.Test(t, func(t *testing.T) {
				n := &network{answers: map[string][]error{own: tt.own, source: tt.source, outside: tt.outside}}
				report, err := Run(t.Context(), n.dial, targets())
				if err != nil || report.Rounds != tt.rounds {
					t.Errorf("%d rounds, %v", report.Rounds, err)
				}
				for i, want := range tt.want {
					if got := report.Targets[i].Outcome; got != want {
						t.Errorf("%s: %s, want %s", report.Targets[i], got, want)
					}
				}
			})
		})
	}
}

func TestRunEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 1500*time.Millisecond)
		defer cancel()
		n := &network{answers: map[string][]error{own: {nil}, source: {nil}, outside: {nil}}}
		if _, err := Run(ctx, n.dial, targets()); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
	})
}

// Real sockets: one that listens, one that does not.
func TestDial(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	if got := outcome(Dial(t.Context(), address)); got != api.OutcomeConnected {
		t.Errorf("a listener: %s", got)
	}
	_ = l.Close()
	if got := outcome(Dial(t.Context(), address)); got != api.OutcomeRefused {
		t.Errorf("nobody listens: %s", got)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Nanosecond)
	defer cancel()
	if got := outcome(Dial(ctx, address)); got != api.OutcomeTimeout {
		t.Errorf("no time: %s", got)
	}
	if got := outcome(Dial(t.Context(), "no-such-host.invalid:1")); got != api.OutcomeUnreachable && got != api.OutcomeTimeout {
		t.Errorf("no such host: %s", got)
	}
}

func TestTexts(t *testing.T) {
	for _, good := range targets() {
		if got, err := ParseTarget(good.String()); err != nil || got != good {
			t.Errorf("%s: %v, %v", good, got, err)
		}
	}
	for _, wrong := range []string{"", "Own", "Own=", "Own=10.0.0.1", "Somewhere=10.0.0.1:1"} {
		if got, err := ParseTarget(wrong); err == nil {
			t.Errorf("%q is %v", wrong, got)
		}
	}
	text, err := json.Marshal(Report{Rounds: 3, Targets: targets()})
	if err != nil {
		t.Fatal(err)
	}
	if got, err := Parse(string(text)); err != nil || got.Rounds != 3 || len(got.Targets) != 3 {
		t.Errorf("%v, %v", got, err)
	}
	for _, wrong := range []string{"", "{}", "cht-backup: exec format error"} {
		if _, err := Parse(wrong); err == nil {
			t.Errorf("%q is a report", wrong)
		}
	}
}
