package dist

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"testing"
)

func node(t *testing.T, host, cookie string, ports [2]int) (*Mesh, chan string) {
	t.Helper()
	up := make(chan string, 10)
	m := New()
	m.Self, m.Cookie, m.Bind, m.EPMDPort, m.DistPort = "couchdb@"+host, cookie, host, ports[0], ports[1]
	m.OnUp = func(n string) { up <- n }
	m.Handler = func(_ context.Context, from, method string, body []byte) ([]byte, error) {
		if method == "fail" {
			return nil, &RemoteError{Status: 409, Code: "conflict", Reason: from}
		}
		return append([]byte(host+" "), body...), nil
	}
	if err := m.Listen(); err != nil {
		t.Fatal(err)
	}
	return m, up
}

func freePorts(t *testing.T) (p [2]int) {
	t.Helper()
	for i := range p {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close() //nolint:errcheck // only to learn a port
		p[i] = l.Addr().(*net.TCPAddr).Port
	}
	return p
}

func TestMesh(t *testing.T) {
	ctx, ports := t.Context(), freePorts(t)
	a, aUp := node(t, "127.0.7.1", "c", ports)
	b, bUp := node(t, "127.0.7.2", "c", ports)
	c, cUp := node(t, "127.0.7.3", "c", ports)
	stranger, _ := node(t, "127.0.7.4", "other", ports)

	out, err := a.Call(ctx, b.Self, "echo", []byte("x"))
	if err != nil || !bytes.Equal(out, []byte("127.0.7.2 x")) {
		t.Fatalf("call: %q %v", out, err)
	}
	if got := <-bUp; got != a.Self {
		t.Errorf("b saw %s", got)
	}
	var re *RemoteError
	if _, err := b.Call(ctx, a.Self, "fail", nil); !errors.As(err, &re) || re.Status != 409 || re.Reason != b.Self {
		t.Errorf("remote error: %v", err)
	}
	// c meets b, and through b it meets a.
	if err := c.Connect(ctx, b.Self); err != nil {
		t.Fatal(err)
	}
	seen := []string{<-cUp, <-cUp}
	slices.Sort(seen)
	if fmt.Sprint(seen) != fmt.Sprint([]string{a.Self, b.Self}) {
		t.Errorf("c met %v", seen)
	}
	<-aUp
	if err := stranger.Connect(ctx, a.Self); !errors.Is(err, ErrDown) {
		t.Errorf("a wrong cookie was let in: %v", err)
	}
	if _, err := a.Call(ctx, "couchdb@127.0.7.9", "echo", nil); !errors.Is(err, ErrDown) {
		t.Errorf("call to nobody: %v", err)
	}
}
