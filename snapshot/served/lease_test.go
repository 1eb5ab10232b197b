package served

import (
	"testing"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

var epoch = time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC)

func leaseOf(holder string, renewed time.Time, seconds int32) *coordinationv1.Lease {
	at := metav1.NewMicroTime(renewed)
	return &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Namespace: "medic", Name: LeaseName, UID: "1"},
		Spec: coordinationv1.LeaseSpec{HolderIdentity: &holder, RenewTime: &at, LeaseDurationSeconds: &seconds}}
}

// A Lease counts from when it was seen to change, by the clock here, whatever time is
// written in it.
func TestSighting(t *testing.T) {
	const whole = int32(Duration / time.Second)
	for name, tt := range map[string]struct {
		renewals []time.Time // as written, seen a minute apart
		seconds  int32
		after    time.Duration // since the last was seen
		left     time.Duration
	}{
		"just seen":                       {[]time.Time{epoch}, whole, 0, Duration},
		"an hour old, as it is written":   {[]time.Time{epoch.Add(-time.Hour)}, whole, 0, Duration},
		"of tomorrow, as it is written":   {[]time.Time{epoch.Add(24 * time.Hour)}, whole, Duration, 0},
		"renewed":                         {[]time.Time{epoch, epoch.Add(time.Minute)}, whole, time.Minute, Duration - time.Minute},
		"renewed with a clock set back":   {[]time.Time{epoch, epoch.Add(-time.Hour)}, whole, time.Minute, Duration - time.Minute},
		"not renewed":                     {[]time.Time{epoch, epoch}, whole, time.Minute, Duration - 2*time.Minute},
		"run out":                         {[]time.Time{epoch}, whole, Duration, 0},
		"a shorter one":                   {[]time.Time{epoch}, 30, 20 * time.Second, 10 * time.Second},
		"one that would never end":        {[]time.Time{epoch}, 1 << 30, 12 * Duration, 0},
		"one that does not say how long":  {[]time.Time{epoch}, 0, 0, Duration},
		"one that says less than nothing": {[]time.Time{epoch}, -5, 0, Duration},
	} {
		t.Run(name, func(t *testing.T) {
			var s sighting
			now := epoch.Add(1000 * time.Hour)
			for i, at := range tt.renewals {
				if i > 0 {
					now = now.Add(time.Minute)
				}
				s = s.see(leaseOf("other/x", at, tt.seconds), now)
			}
			if got := s.left(now.Add(tt.after)); got != tt.left {
				t.Errorf("counts for %s, want %s", got, tt.left)
			}
		})
	}
	if (sighting{}).left(epoch) != 0 {
		t.Error("what was never seen counts")
	}
	again := leaseOf("other/x", epoch, 300)
	s := sighting{}.see(again, epoch)
	again.UID = "2"
	if s = s.see(again, epoch.Add(time.Minute)); s.left(epoch.Add(Duration)) == 0 {
		t.Error("one that was deleted and made again counts as the old one")
	}
}

// Its holder stops before others begin, and begins when they have stopped.
func TestHold(t *testing.T) {
	if trusted >= Duration || renewEvery*2 > trusted || settling <= look || afterDeletion <= renewEvery {
		t.Fatal("the times do not fit each other")
	}
	var h hold
	if h.valid(epoch) || !h.due(epoch) {
		t.Fatal("what was never asked for is held, or is not asked for")
	}
	h = h.renew(epoch, epoch.Add(time.Second))
	h.tried = epoch
	for after, want := range map[time.Duration]bool{0: false, settling: false, settling + time.Second: true, trusted - time.Second: true, trusted: false, 24 * time.Hour: false} {
		if got := h.valid(epoch.Add(after)); got != want {
			t.Errorf("after %s: valid %v", after, got)
		}
	}
	if h.due(epoch.Add(renewEvery-time.Second)) || !h.due(epoch.Add(renewEvery)) {
		t.Error("it is renewed at the wrong time")
	}
	// In time: it goes on. Too late: others may have begun, and must end first.
	in := h.renew(epoch.Add(renewEvery), epoch.Add(renewEvery+time.Second))
	if !in.valid(epoch.Add(renewEvery + 2*time.Second)) {
		t.Error("a renewal in time interrupts the work")
	}
	late := h.renew(epoch.Add(trusted), epoch.Add(trusted+time.Second))
	if late.valid(epoch.Add(trusted+2*time.Second)) || !late.valid(epoch.Add(trusted+time.Second+settling)) {
		t.Error("a renewal that came too late counts at once, or never")
	}
	// What began before it was late counts from when it began.
	slow := h.renew(epoch.Add(renewEvery), epoch.Add(trusted-time.Second))
	if slow.valid(epoch.Add(renewEvery + trusted)) {
		t.Error("the time that the request took was not counted")
	}
	h.why = "refused"
	if !h.due(epoch.Add(askAgain)) || h.due(epoch.Add(askAgain-time.Second)) {
		t.Error("what was refused is asked for at the wrong time")
	}
	if !h.due(epoch.Add(-time.Hour)) {
		t.Error("a clock that was set back stops the renewals")
	}
}
