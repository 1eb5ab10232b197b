package status

import (
	"strings"
	"testing"
)

func TestClip(t *testing.T) {
	if s := Clip(strings.Repeat("x", 40000)); len(s) > 1024 || !strings.HasPrefix(s, "xxx") {
		t.Errorf("%d bytes: an event's note holds 1024", len(s))
	}
	if s := Clip("short"); s != "short" {
		t.Error(s)
	}
}
