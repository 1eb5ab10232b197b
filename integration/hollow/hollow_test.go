package hollow

import (
	"bufio"
	"encoding/json"
	"io"
	"testing"
	"time"

	"github.com/medic/cht-backup/integration/couchdb/loopback"
	"github.com/medic/cht-backup/snapshot/quiesce"
	"github.com/medic/cht-backup/snapshot/quiesce/protocol"
)

// The product's own command is what the node understands.
func TestPauseBound(t *testing.T) {
	if bound, err := pauseBound(quiesce.PauseCommand(time.Second)); err != nil || bound != quiesce.NodeBound(time.Second) {
		t.Errorf("%s, %v", bound, err)
	}
	if _, err := pauseBound([]string{"sh", "-c", "rm", "-r", "5"}); err == nil {
		t.Error("anything is run")
	}
}

func TestHolds(t *testing.T) {
	for _, tt := range []struct {
		name  string
		after string // what is sent once it holds; "" ends the input
		bound time.Duration
		held  bool
	}{
		{"released", "release\n", time.Hour, true},
		{"input ends", "", time.Hour, false},
		{"another word", "more\n", time.Hour, false},
		{"the deadline", "wait", time.Millisecond, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h := &Holds{}
			in, send := io.Pipe()
			said, out := io.Pipe()
			done := make(chan error, 1)
			go func() { done <- h.serve("i", tt.bound, in, out); _ = out.Close() }()
			answers := bufio.NewScanner(said)
			next := func() (m protocol.Message) {
				t.Helper()
				if !answers.Scan() || json.Unmarshal(answers.Bytes(), &m) != nil {
					t.Fatalf("said %q", answers.Text())
				}
				return m
			}
			if m := next(); m.State != protocol.Ready {
				t.Fatalf("%+v", m)
			}
			if _, err := io.WriteString(send, "hold\n"); err != nil {
				t.Fatal(err)
			}
			if m := next(); m.State != protocol.Held {
				t.Fatalf("%+v", m)
			}
			at := time.Now()
			switch tt.after {
			case "":
				_ = send.Close()
			case "wait":
			default:
				if _, err := io.WriteString(send, tt.after); err != nil {
					t.Fatal(err)
				}
			}
			if m := next(); m.State != protocol.Released || m.Held != tt.held {
				t.Errorf("%+v", m)
			}
			if err := <-done; err != nil {
				t.Error(err)
			}
			_ = send.Close()
			if tt.bound > time.Second && (!h.Covered("i", at) || h.Covered("j", at)) || h.Covered("i", time.Now()) || h.Covered("i", at.Add(-time.Hour)) {
				t.Errorf("remembers %+v", h.of)
			}
		})
	}
}

// What cannot be listened on is an error, and nothing is left running.
func TestCouchRefused(t *testing.T) {
	if c, err := StartCouch(t.Context(), t.TempDir(), []string{"192.0.2.1"}); err == nil {
		_ = c.Stop()
		t.Error("an address of nobody's was taken")
	}
}

func TestMain(m *testing.M) {
	loopback.Run()
	m.Run()
}
