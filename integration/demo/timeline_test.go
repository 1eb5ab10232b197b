package main

import (
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	api "github.com/medic/cht-backup/api/v1alpha1"
)

func backup(mode api.Quiesce, cuts ...int) *api.Backup {
	at := func(n int) metav1.MicroTime { return metav1.NewMicroTime(zero.Add(ms(n))) }
	ready := at(2000)
	b := &api.Backup{}
	stall, start := int64(400), at(-1000)
	b.Status.QuiesceMode, b.Status.StallMilliseconds, b.Status.StartTime = mode, &stall, &start
	b.Status.Timeline = &api.Timeline{QuiesceStart: at(0), Quiesced: at(100), Cut: at(300), Released: at(400), Ready: &ready}
	for i, cut := range cuts {
		when := at(cut)
		b.Status.Volumes = append(b.Status.Volumes, api.VolumeStatus{Node: "couchdb-" + string(rune('1'+i)), CutTime: &when})
	}
	return b
}

func TestTimeline(t *testing.T) {
	b := backup(api.QuiesceFreeze, 250, 200)
	equal(t, drawTimeline(moments(b), zero, zero.Add(ms(400))), `
12:00:00.000      +0 ms  ●·······························  freeze: asked of all nodes at once
12:00:00.100    +100 ms  ·······●························  quiesced: all nodes hold still, writes wait
12:00:00.200    +200 ms  ···············●················  cut: volume of couchdb-2
12:00:00.250    +250 ms  ···················●············  cut: volume of couchdb-1
12:00:00.300    +300 ms  ·······················●········  the storage has confirmed every cut
12:00:00.400    +400 ms  ·······························●  thaw: all nodes run again, writes go on
12:00:02.000   +2000 ms  ·······························▸  ready: a restore can be made from the copy`)
	// Nothing held: no moment claims it, and a stall of no length divides nothing.
	none := drawTimeline(moments(backup(api.QuiesceNone, -50)), zero, zero)
	if text := strings.Join(none, "\n"); strings.Contains(text, "still") || !strings.Contains(text, "◂") {
		t.Errorf("mode None:\n%s", text)
	}
}

func TestOutsideHold(t *testing.T) {
	for _, test := range []struct {
		name string
		mode api.Quiesce
		cuts []int
		bad  int
	}{
		{"inside", api.QuiesceFreeze, []int{100, 250, 400}, 0},
		{"a coarse clock", api.QuiescePause, []int{99}, 0},
		{"one before all held", api.QuiesceFreeze, []int{50, 250}, 1},
		{"after the release", api.QuiesceFreeze, []int{250, 401}, 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := outsideHold(backup(test.mode, test.cuts...)); len(got) != test.bad {
				t.Errorf("got %q, want %d", got, test.bad)
			}
		})
	}
	b := backup(api.QuiesceFreeze, 200)
	b.Status.Volumes[0].CutTime = nil
	if got := outsideHold(b); len(got) != 1 {
		t.Errorf("a cut without time: %q", got)
	}
}

func TestStamp(t *testing.T) {
	if got := stamp(zero.Add(1500 * time.Microsecond).In(time.FixedZone("", 3600))); got != "12:00:00.001" {
		t.Error(got)
	}
}
