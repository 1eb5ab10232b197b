//go:build linux

package link

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/medic/cht-backup/snapshot/file/transfer"
)

func reader(b io.Reader) *bufio.Reader { return bufio.NewReader(b) }

// Without an admission nobody speaks: not with a certificate of its own, not with none.
func TestStrangers(t *testing.T) {
	p, _, _ := startCopier(t, time.Minute)
	c := p.copier()
	own, err := newIdentity()
	must(t, err)
	stranger := func(certificates bool) error {
		config := own.config(func(pin) bool { return true })
		if !certificates {
			config.Certificates = nil
		}
		h := &http.Client{Transport: &http.Transport{TLSClientConfig: config}}
		response, err := h.Get(c.base + "/state")
		if err == nil {
			_ = response.Body.Close()
		}
		return err
	}
	for _, certificates := range []bool{true, false} {
		if err := stranger(certificates); err == nil || !strings.Contains(err.Error(), "tls:") {
			t.Errorf("a stranger with a certificate %v: %v", certificates, err)
		}
	}
	if _, err := c.State(t.Context()); err != nil {
		t.Errorf("the one who was admitted: %v", err)
	}
}

// Before the first admission nobody speaks, either.
func TestNobodyBeforeTheFirst(t *testing.T) {
	s, err := newServer(ServeOptions{})
	must(t, err)
	if s.isPeer(pin{}) {
		t.Error("no pin is a peer")
	}
}

// Who answers in the pod's place has another certificate.
func TestImpostor(t *testing.T) {
	p, _, _ := startCopier(t, time.Minute)
	other, _, _ := startCopier(t, time.Minute)
	c, o := p.copier(), other.copier()
	c.base = o.base
	before := time.Now()
	if _, err := c.State(t.Context()); !errors.Is(err, ErrLost) || !errors.Is(err, errStranger) {
		t.Errorf("err after %v: %v", time.Since(before), err)
	}
}

// recorder lets an exec stream through, and keeps what was said to the pod.
type recorder struct {
	sync.Mutex
	said bytes.Buffer
}

func (r *recorder) Write(b []byte) (int, error) {
	r.Lock()
	defer r.Unlock()
	return r.said.Write(b)
}

// What was said in one admission admits nobody in another one.
func TestReplayedAdmission(t *testing.T) {
	p, _, _ := startCopier(t, time.Minute)
	var heard recorder
	peer := p.peer()
	peer.Exec = func(ctx context.Context, command []string, in io.Reader, out io.Writer) error {
		return p.exec(ctx, command, io.TeeReader(in, &heard), out)
	}
	first, err := DialCopier(t.Context(), peer)
	must(t, err)
	second := p.copier()
	conn, err := dialSocket(t.Context(), p.socket)
	must(t, err)
	defer func() { _ = conn.Close() }()
	heard.Lock()
	_, err = conn.Write(heard.said.Bytes())
	heard.Unlock()
	must(t, err)
	said, err := io.ReadAll(conn)
	must(t, err)
	if !strings.Contains(string(said), errRefused.Error()) {
		t.Errorf("the pod says %s", said)
	}
	if _, err := second.State(t.Context()); err != nil {
		t.Errorf("who was admitted last: %v", err)
	}
	if _, err := first.State(t.Context()); err == nil {
		t.Error("the first is admitted again")
	}
}

// A certificate that is not one's own can not be admitted.
func TestAdmissionOfAnothersCertificate(t *testing.T) {
	s, err := newIdentity()
	must(t, err)
	mine, err := newIdentity()
	must(t, err)
	his, err := newIdentity()
	must(t, err)
	challenge := []byte("a challenge of some length")
	good, err := mine.sign(challenge, pinOf(s.cert))
	must(t, err)
	for name, is := range map[string]bool{
		"mine":              signed(mine.cert, good, challenge, pinOf(s.cert)),
		"his certificate":   !signed(his.cert, good, challenge, pinOf(s.cert)),
		"another challenge": !signed(mine.cert, good, []byte("another challenge"), pinOf(s.cert)),
		"another server":    !signed(mine.cert, good, challenge, pinOf(his.cert)),
		"no signature":      !signed(mine.cert, nil, challenge, pinOf(s.cert)),
		"no certificate":    !signed(nil, good, challenge, pinOf(s.cert)),
	} {
		if !is {
			t.Error(name)
		}
	}
}

// What the command in the pod says is what the user is told.
func TestAdmissionFails(t *testing.T) {
	said := errors.New("command terminated with exit code 1: no such socket")
	_, err := DialCopier(t.Context(), Peer{Name: "couchdb-1", IP: "127.0.0.1", Exec: func(context.Context, []string, io.Reader, io.Writer) error { return said }})
	wantErr(t, err, said)
	_, err = DialCopier(t.Context(), Peer{Name: "couchdb-1", IP: "127.0.0.1", Exec: func(_ context.Context, _ []string, _ io.Reader, out io.Writer) error {
		_, err := io.WriteString(out, "{\"challenge\":\"AAAA\"}\n"+strings.Repeat("x", mostLine*2))
		return err
	}})
	if err == nil {
		t.Error("an offer that is none is taken")
	}
}

// cutter is a line between controller and pod that can be cut.
type cutter struct {
	net.Listener
	to string

	mu sync.Mutex
	// after so many bytes of an answer the connection is cut, so often.
	after, times int
}

func cut(t *testing.T, to string, after, times int) *cutter {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	c := &cutter{Listener: l, to: to, after: after, times: times}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go c.carry(conn)
		}
	}()
	return c
}

func (c *cutter) carry(in net.Conn) {
	defer func() { _ = in.Close() }()
	out, err := net.Dial("tcp", c.to)
	if err != nil {
		return
	}
	defer func() { _ = out.Close() }()
	go func() { _, _ = io.Copy(out, in); _ = out.Close() }()
	c.mu.Lock()
	cuts := c.times > 0
	c.times--
	c.mu.Unlock()
	if cuts {
		_, _ = io.CopyN(in, out, int64(c.after))
		return
	}
	_, _ = io.Copy(in, out)
}

// A connection that is cut in the middle of a file is made again, and not a byte is
// missing or comes twice; one that is always cut ends.
func TestCutConnection(t *testing.T) {
	p, _, big := startCopier(t, time.Minute)
	c := p.copier()
	_, s := measured(t, c)
	number(t, s, medic)
	pod := strings.TrimSuffix(strings.TrimPrefix(c.base, "https://"), "/v1")
	c.close()
	line := cut(t, pod, 5<<20+12345, 3)
	c.base = "https://" + line.Addr().String() + "/v1"
	got, err := readAll(t, s, medic, nil)
	if err != nil || !bytes.Equal(got, big) {
		t.Errorf("%d bytes of %d, %v", len(got), len(big), err)
	}
	c.close()
	dead := cut(t, pod, 3000, 1000)
	c.base = "https://" + dead.Addr().String() + "/v1"
	err = s.Read(t.Context(), 3, 0, func(transfer.Frame) error { return nil })
	wantErr(t, err, ErrLost)
	if !strings.Contains(err.Error(), "couchdb-1 (pod a/b)") {
		t.Errorf("err: %v", err)
	}
}

// Streams that are cut off or made up end with an error, and take no memory on their word.
func TestBrokenStreams(t *testing.T) {
	var whole bytes.Buffer
	must(t, writeFrame(&whole, transfer.Frame{Data: []byte("abc")}))
	must(t, writeEnd(&whole, nil))
	for n := range whole.Len() {
		r := reader(bytes.NewReader(whole.Bytes()[:n]))
		_, err := readFrame(r)
		if err == nil {
			_, err = readFrame(r)
		}
		if !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("cut at %d: %v", n, err)
		}
	}
	for name, b := range map[string][]byte{
		"an unknown kind":   []byte("?"),
		"a huge chunk":      append(append([]byte{isFrame}, make([]byte, 32)...), 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 1),
		"huge data":         append(append([]byte{isFrame}, make([]byte, 32)...), 0, 0, 0, 1, 0xff, 0xff, 0xff, 0xff),
		"a problem of none": {isProblem, 0, 0, 0, 2, '{', '}', '}'},
		"a huge problem":    {isProblem, 0xff, 0xff, 0xff, 0xff, '{'},
	} {
		if _, err := readFrame(reader(bytes.NewReader(b))); err == nil || errors.Is(err, io.EOF) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := readPieces(make([]byte, 41)); err == nil {
		t.Error("a list of chunks that is cut off is read")
	}
}

// A peer that takes nothing does not hold the others up, and is given up in the end.
func TestSlowPeer(t *testing.T) {
	p, _, big := startCopier(t, 2*time.Second)
	c := p.copier()
	_, s := measured(t, c)
	i := number(t, s, medic)
	blocked := make(chan struct{})
	slow := make(chan error, 1)
	go func() {
		slow <- s.Read(t.Context(), i, 0, func(transfer.Frame) error { <-blocked; return nil })
	}()
	// The others go on meanwhile.
	for range 3 {
		got, err := readAll(t, s, medic, nil)
		if err != nil || !bytes.Equal(got, big) {
			t.Errorf("%d bytes of %d, %v", len(got), len(big), err)
		}
	}
	if err := p.end(); !errors.Is(err, ErrIdle) {
		t.Errorf("the copier ended with %v", err)
	}
	close(blocked)
	wantErr(t, <-slow, ErrLost)
}
