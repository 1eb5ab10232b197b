package loopcsi

import (
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
)

func TestParseSnapshotFaults(t *testing.T) {
	got, err := parseSnapshotFaults(map[string]string{
		"cutLatency": "1s", "cutStagger": "2ms", "ackLatency": "3s", "readyLatency": "4m", "hang": "5s", "hangThen": "cut",
		"failCode": "Unavailable", "failTimes": "3", "run": "anything", "csi.storage.k8s.io/volumesnapshot/name": "x",
	})
	want := SnapshotFaults{CutLatency: time.Second, CutStagger: 2 * time.Millisecond, AckLatency: 3 * time.Second, ReadyLatency: 4 * time.Minute,
		Hang: 5 * time.Second, HangThen: "cut", FailCode: codes.Unavailable, FailTimes: 3}
	if err != nil || got != want {
		t.Errorf("%+v, %v; want %+v", got, err, want)
	}
	for name, value := range map[string]string{"cutLatency": "1", "hangThen": "later", "failCode": "OK", "failTimes": "x", "cutLatenyc": "1s"} {
		if _, err := parseSnapshotFaults(map[string]string{name: value}); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s=%s: error %v", name, value, err)
		}
	}
}

func TestParseVolumeFaults(t *testing.T) {
	got, err := parseVolumeFaults(map[string]string{"failCode": "ResourceExhausted", "createLatency": "1s"})
	if want := (VolumeFaults{FailCode: codes.ResourceExhausted, CreateLatency: time.Second}); err != nil || got != want {
		t.Errorf("%+v, %v", got, err)
	}
	if _, err := parseVolumeFaults(map[string]string{"cutLatency": "1s"}); err == nil {
		t.Error("a knob of snapshots was taken for a volume")
	}
}

func TestSlotsSpreadCuts(t *testing.T) {
	c := newCuts(nil)
	now := time.Now()
	for i, want := range []time.Duration{0, time.Second, 2 * time.Second} {
		if got := c.slot("a", time.Second, now); got != want {
			t.Errorf("cut %d waits %s, want %s", i, got, want)
		}
	}
	if got := c.slot("b", time.Second, now); got != 0 {
		t.Errorf("another namespace waits %s", got)
	}
	if got := c.slot("a", time.Second, now.Add(time.Minute)); got != 0 {
		t.Errorf("a later backup waits %s", got)
	}
}

func TestFailTimesCountsPerVolumeAndClass(t *testing.T) {
	c := newCuts(nil)
	order := func(volume, class string) cutOrder {
		return cutOrder{failKey: failKey(volume, map[string]string{"run": class, "csi.storage.k8s.io/x": volume}), faults: SnapshotFaults{FailTimes: 2}}
	}
	var got []bool
	for range 3 {
		got = append(got, c.failsNow(order("v", "1")))
	}
	got = append(got, c.failsNow(order("w", "1")), c.failsNow(order("v", "2")))
	for i, want := range []bool{true, true, false, true, true} {
		if got[i] != want {
			t.Fatalf("failures %v", got)
		}
	}
}

func TestIDOf(t *testing.T) {
	if id := idOf("pvc-1"); id != "pvc-1" {
		t.Errorf("%s", id)
	}
	long := strings.Repeat("x", 128)
	if a, b := idOf(long), idOf(long+"y"); a == b || len(a) > 100 {
		t.Errorf("%s, %s", a, b)
	}
	if strings.ContainsAny(idOf("../../etc"), "/") {
		t.Error("an id leaves the pool")
	}
}
