package follow

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/medic/cht-backup/cmd/kubectl-cht/internal/show"
)

var begin = time.Date(2026, 3, 1, 1, 0, 0, 0, time.UTC)

func TestScreenRedraws(t *testing.T) {
	var out bytes.Buffer
	s := &Screen{Out: &out, Width: func() int { return 60 }, Now: func() time.Time { return begin.Add(2 * time.Second) }}
	stop := s.Start()
	s.Show(show.State{Kind: "backup", Namespace: "m", Name: "n", Phase: "Pending", Message: "accepted", Created: begin})
	s.Show(show.State{Kind: "backup", Namespace: "m", Name: "n", Phase: "Cutting", Created: begin})
	stop()
	got := out.String()
	for _, want := range []string{
		"\rbackup m/n  Pending  2.0s\x1b[K\n  accepted\x1b[K\n\x1b[J",
		"\x1b[2A\rbackup m/n  Cutting  2.0s\x1b[K\n\x1b[J", // over the two lines before
	} {
		if !strings.Contains(got, want) {
			t.Errorf("lacks %q: %q", want, got)
		}
	}
	if !strings.HasSuffix(got, "\x1b[1A\x1b[J") {
		t.Errorf("the block is not cleared at the end: %q", got)
	}
}

func TestScreenPlain(t *testing.T) {
	var out bytes.Buffer
	s := &Screen{Out: &out, Now: func() time.Time { return begin.Add(time.Minute) }, SystemNamespace: "sys"}
	s.Show(show.State{Kind: "backup", Namespace: "m", Name: "n", Created: begin})
	s.tick()
	s.tick()
	want := "01:01:00 backup m/n Accepted\nno controller has taken it up yet; is cht-backup running (`kubectl get pods -n sys`), and does it serve namespace m (`kubectl get lease cht-backup-serves -n m`)?\n"
	if got := out.String(); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// replicating has written so many of 1000 documents.
func replicating(written int64) show.State {
	return show.State{Kind: "restore", Namespace: "m", Name: "r", Phase: "Replicating", Progress: &show.Progress{Done: written, Total: 1000}}
}

// The status of a replication has no rate; it comes of what was seen.
func TestScreenMeasures(t *testing.T) {
	now := begin
	var out bytes.Buffer
	s := &Screen{Out: &out, Width: func() int { return 200 }, Now: func() time.Time { return now }}
	s.Show(replicating(100))
	now = begin.Add(2 * time.Second)
	s.Show(replicating(300))
	if got := out.String(); !strings.Contains(got, "[==                  ] 10%  100 of 1000 documents\x1b[K") ||
		!strings.Contains(got, "[======              ] 30%  300 of 1000 documents, 100 a second, 7s left\x1b[K") {
		t.Errorf("%q", got)
	}
	// A new phase counts from its own begin.
	next := replicating(400)
	next.Phase = "Replacing"
	out.Reset()
	s.Show(next)
	if got := out.String(); !strings.Contains(got, "40%  400 of 1000 documents\x1b[K") {
		t.Errorf("%q", got)
	}
}

// Hours of counting must not fill a log, but a new phase is told at once.
func TestScreenPlainIsQuietWhileCounting(t *testing.T) {
	now := begin
	var out bytes.Buffer
	s := &Screen{Out: &out, Now: func() time.Time { return now }}
	for i := range int64(8) {
		now = begin.Add(time.Duration(i) * 5 * time.Second)
		s.Show(replicating(100 * (i + 1)))
	}
	s.Show(show.State{Kind: "restore", Namespace: "m", Name: "r", Phase: "Completed"})
	want := "01:00:00 restore m/r Replicating\n" +
		"01:00:30 restore m/r Replicating: 70%  700 of 1000 documents, 20 a second, 15s left\n" +
		"01:00:35 restore m/r Completed\n"
	if got := out.String(); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
