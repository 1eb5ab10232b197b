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
	want := "01:01:00 backup m/n Accepted\nno controller has taken it up yet; is cht-backup running? (`kubectl get pods -n sys`)\n"
	if got := out.String(); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
