package show

import (
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	api "github.com/medic/cht-backup/api/v1alpha1"
)

func running() *api.Backup {
	b := completed()
	b.Status.Phase, b.Status.CompletionTime = api.PhaseFinishing, nil
	b.Status.Conditions = ready(metav1.ConditionUnknown, api.ReasonProgressing, "1 of 2 snapshots\nare ready")
	b.Status.Volumes[0].Ready = false
	return b
}

func TestBlock(t *testing.T) {
	now := start.Add(7500 * time.Millisecond)
	equal(t, Block(Of(running()), now, 0, "", false), `
backup medic/nightly  Finishing  7.5s
  1 of 2 snapshots are ready
  couchdb-2   couchdb-2-claim0   ready
  couchdb-10  couchdb-10-claim0  cut, becoming ready`)
	equal(t, Block(Of(running()), now, 20, "a hint that is long", false), `
backup medic/nightl…
  1 of 2 snapshots …
  a hint that is lo…
  couchdb-2   couch…
  couchdb-10  couch…`)
	equal(t, Block(Of(running()), now, 60, "", true)[:1], "backup medic/nightly  \x1b[33mFinishing\x1b[0m  7.5s")
	for _, line := range Block(Of(running()), now, 10, "", false) {
		if n := utf8.RuneCountInString(line); n > 10 {
			t.Errorf("%q is %d wide", line, n)
		}
	}
	// An ended operation's clock stands still.
	if got := Block(Of(completed()), start.Add(time.Hour), 0, "", false)[0]; got != "backup medic/nightly  Completed  9.0s" {
		t.Error(got)
	}
}

func TestChanges(t *testing.T) {
	now := start.Add(90 * time.Second)
	phase, message, volume := running(), running(), running()
	phase.Status.Phase = api.PhaseCompleted
	message.Status.Conditions[0].Message = "waiting"
	volume.Status.Volumes[0].Ready = true
	fresh := &api.Backup{ObjectMeta: metav1.ObjectMeta{Namespace: "medic", Name: "nightly"}}
	for _, tc := range []struct {
		name   string
		was, s State
		want   string
	}{
		{"the first", State{}, Of(fresh), "01:01:30 backup medic/nightly Accepted"},
		{"nothing new", Of(running()), Of(running()), ""},
		{"phase", Of(running()), Of(phase), "01:01:30 backup medic/nightly Completed: 1 of 2 snapshots are ready"},
		{"message", Of(running()), Of(message), "01:01:30 backup medic/nightly Finishing: waiting"},
		{"volume", Of(running()), Of(volume), "01:01:30 backup medic/nightly volume couchdb-10 (couchdb-10-claim0) ready"},
	} {
		t.Run(tc.name, func(t *testing.T) { equal(t, Changes(tc.was, tc.s, now), tc.want) })
	}
}

func TestVolumesOfRestore(t *testing.T) {
	r := restored()
	r.Status.Volumes = []api.RestoredVolume{{Node: "c", Claim: "c0"}, {Node: "b", Claim: "b0", Bound: true}, {Node: "a", Claim: "a0", Bound: true, Prepared: true}}
	var got []string
	for _, v := range Of(r).Volumes {
		got = append(got, v.Node+" "+v.State)
	}
	equal(t, got, "a prepared\nb bound, being prepared\nc waiting")
}

func TestUnclaimed(t *testing.T) {
	fresh := &api.Backup{ObjectMeta: metav1.ObjectMeta{Namespace: "medic", Name: "n", CreationTimestamp: metav1.NewTime(start)}}
	if got := Unclaimed(Of(fresh), start.Add(9*time.Second), "sys"); got != "" {
		t.Errorf("too early: %s", got)
	}
	if got := Unclaimed(Of(fresh), start.Add(11*time.Second), "sys"); !strings.Contains(got, "kubectl get pods -n sys") {
		t.Errorf("no hint: %q", got)
	}
	fresh.Status.Phase = api.PhasePending
	if got := Unclaimed(Of(fresh), start.Add(time.Hour), "sys"); got != "" {
		t.Errorf("it was taken up: %s", got)
	}
}
