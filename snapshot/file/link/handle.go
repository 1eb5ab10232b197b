package link

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log"
	"net/http"
	"os"
	"time"
)

// quietly is where the servers tell what no client is told. It is the container's log.
var quietly = log.New(os.Stderr, "cht-backup: ", log.LstdFlags)

// only lets the admitted peer through, and ends what it asked for when another one is
// admitted, or it goes away.
func (s *server) only(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		peer, err := s.begin(r.TLS)
		if err != nil {
			http.Error(w, err.Error(), http.StatusForbidden)
			return
		}
		defer s.end()
		ctx, cancel := context.WithCancelCause(r.Context())
		defer cancel(nil)
		control := http.NewResponseController(w)
		// Its answer may begin before its request has ended.
		_ = control.EnableFullDuplex()
		stop := context.AfterFunc(peer, func() {
			cancel(context.Cause(peer))
			// What waits for the peer does so no more.
			_ = control.SetReadDeadline(time.Unix(1, 0))
			_ = control.SetWriteDeadline(time.Unix(1, 0))
		})
		defer stop()
		next.ServeHTTP(w, r.WithContext(ctx))
	})
}

// beats is how often a call that takes long says that it is at work: with a line break,
// which JSON passes over.
const beats = 20 * time.Second

// call answers a request with what do gives.
func call[T any](do func(*http.Request) (T, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		type result struct {
			value T
			err   error
		}
		done := make(chan result, 1)
		go func() {
			value, err := do(r)
			done <- result{value, err}
		}()
		w.Header().Set("Content-Type", "application/json")
		tick := time.NewTicker(beats)
		defer tick.Stop()
		for {
			select {
			case got := <-done:
				_ = json.NewEncoder(w).Encode(reply[T]{got.value, problemOf(got.err)})
				return
			case <-tick.C:
				_, _ = io.WriteString(w, "\n")
				_ = http.NewResponseController(w).Flush()
			}
		}
	}
}

// mostCall bounds the body of a call: a list of all files, or of a file's chunks.
const mostCall = 256 << 20

func bodyOf(r *http.Request) ([]byte, error) {
	b, err := io.ReadAll(io.LimitReader(r.Body, mostCall+1))
	if err == nil && len(b) > mostCall {
		err = errors.New("the request is too large")
	}
	return b, err
}

// patient writes as long as its reader takes anything within some time.
type patient struct {
	ctx    context.Context
	w      http.ResponseWriter
	within time.Duration
}

func (p patient) Write(b []byte) (int, error) {
	if p.within > 0 {
		_ = http.NewResponseController(p.w).SetWriteDeadline(time.Now().Add(p.within))
	}
	if p.ctx.Err() != nil {
		return 0, context.Cause(p.ctx)
	}
	return p.w.Write(b)
}

// patientReader reads as long as anything comes within some time.
type patientReader struct {
	ctx    context.Context
	w      http.ResponseWriter
	r      io.Reader
	within time.Duration
}

func (p patientReader) Read(b []byte) (int, error) {
	if p.within > 0 {
		_ = http.NewResponseController(p.w).SetReadDeadline(time.Now().Add(p.within))
	}
	if p.ctx.Err() != nil {
		return 0, context.Cause(p.ctx)
	}
	return p.r.Read(b)
}
