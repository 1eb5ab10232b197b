package worker

import "testing"

func TestPeak(t *testing.T) {
	if kb, err := Peak("VmPeak:\t 1264308 kB\nVmHWM:\t   40960 kB\nVmRSS:\t 1 kB\n"); kb != 40960 || err != nil {
		t.Errorf("%d, %v", kb, err)
	}
	if _, err := Peak("VmRSS:\t 1 kB\n"); err == nil {
		t.Error("a peak out of nothing")
	}
}
