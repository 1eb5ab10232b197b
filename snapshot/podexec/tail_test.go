package podexec

import (
	"bytes"
	"strings"
	"testing"
)

func TestTail(t *testing.T) {
	var tail Tail
	for range 10_000 {
		if n, err := tail.Write(bytes.Repeat([]byte("x"), 32<<10)); n != 32<<10 || err != nil {
			t.Fatal(n, err)
		}
	}
	if _, err := tail.Write([]byte("the end\n")); err != nil {
		t.Fatal(err)
	}
	if s := tail.String(); len(s) > longest || !strings.HasSuffix(s, "xthe end") || cap(tail.buf) > 8*longest {
		t.Errorf("%d bytes of %d kept", len(s), cap(tail.buf))
	}
}
