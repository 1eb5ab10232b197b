//go:build linux

package link

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/medic/cht-backup/snapshot/bounded"
	"github.com/medic/cht-backup/snapshot/file/node"
	"github.com/medic/cht-backup/snapshot/file/transfer"
	"github.com/medic/cht-backup/snapshot/file/tree"
)

// Whoever may make pods in an instance's namespace may put his own in the place of a
// copier or a filler: it is admitted, since he answers the exec stream too. It must not
// choose what the controller reaches, nor fill its memory, nor have its own words passed
// for what somebody else said.

// forged is a pod of somebody else's that does all that an admission asks.
func forged(t *testing.T, handle http.HandlerFunc) Peer {
	t.Helper()
	own, err := newIdentity()
	must(t, err)
	s := httptest.NewUnstartedServer(handle)
	s.TLS = own.config(func(pin) bool { return true })
	s.TLS.Certificates = []tls.Certificate{{Certificate: [][]byte{own.cert}, PrivateKey: own.key}}
	s.StartTLS()
	t.Cleanup(s.Close)
	port := s.Listener.Addr().(*net.TCPAddr).Port //nolint:forcetypeassert // a test server's
	return Peer{Name: "couchdb-1 (pod a/b)", IP: "127.0.0.1", Exec: func(_ context.Context, _ []string, in io.Reader, out io.Writer) error {
		return askAdmission(conversation{in, out}, own, port, func(pin) {})
	}}
}

func TestNoRedirectOfAPodIsFollowed(t *testing.T) {
	reached := make(chan string, 10)
	inner := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		reached <- r.Method + " " + r.Header.Get(keyHeader)
		http.Error(w, "what only the controller's machine can see", http.StatusTeapot)
	}))
	defer inner.Close()
	for _, code := range []int{http.StatusFound, http.StatusTemporaryRedirect} {
		_, err := DialCopier(t.Context(), forged(t, http.RedirectHandler(inner.URL, code).ServeHTTP))
		if err == nil || strings.Contains(err.Error(), "can see") || !strings.Contains(err.Error(), http.StatusText(code)) {
			t.Errorf("%d: %v", code, err)
		}
	}
	if len(reached) > 0 {
		t.Errorf("the controller went where the pod sent it: %s", <-reached)
	}
}

func TestEndlessAnswersOfAPod(t *testing.T) {
	for name, tt := range map[string]struct{ files, begin, more string }{
		"a state":         {"", `{"value":{"failed":"`, "x"},
		"many files":      {"/files", `{"value":[{}`, ",{}"},
		"a file's name":   {"/files", `{"value":[{"Path":"`, "x"},
		"nested":          {"/files", `{"value":`, "["},
		"another message": {"/files", `{"problem":{"text":"`, "x"},
	} {
		t.Run(name, func(t *testing.T) {
			p := forged(t, func(w http.ResponseWriter, r *http.Request) {
				if !strings.HasSuffix(r.URL.Path, tt.files) {
					_, _ = io.WriteString(w, `{"value":{}}`)
					return
				}
				_, err := io.WriteString(w, tt.begin)
				for chunk := bytes.Repeat([]byte(tt.more), 32<<10/len(tt.more)); err == nil; {
					_, err = w.Write(chunk)
				}
			})
			c, err := DialCopier(t.Context(), p)
			if err == nil {
				t.Cleanup(c.Close)
				_, err = c.Source("cut", testKey).Files(t.Context())
			}
			if !errors.Is(err, bounded.ErrTooMuch) {
				t.Errorf("%v", err)
			}
		})
	}
}

// A file of chunks of one byte would fill the controller's memory with their names.
func TestTinyChunksOfAPod(t *testing.T) {
	p := forged(t, func(w http.ResponseWriter, r *http.Request) {
		if !strings.Contains(r.URL.Path, "/files/") {
			_, _ = io.WriteString(w, `{"value":{}}`)
			return
		}
		var frames bytes.Buffer
		for range 3 {
			must(t, writeFrame(&frames, transfer.Frame{Piece: tree.Piece{Length: 1}, Data: []byte("x")}))
		}
		_, _ = w.Write(frames.Bytes())
	})
	c, err := DialCopier(t.Context(), p)
	must(t, err)
	t.Cleanup(c.Close)
	for from, most := range map[int64]int{0: 1, 5: 1, node.ChunkSize - 1: 2} {
		taken := 0
		err = c.Source("cut", testKey).Read(t.Context(), 0, from, func(transfer.Frame) error { taken++; return nil })
		if err == nil || !strings.Contains(err.Error(), "only a file's last chunk ends elsewhere") || taken > most {
			t.Errorf("from %d: %d chunks were taken, %v", from, taken, err)
		}
	}
}
