package couchdb

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/medic/cht-backup/snapshot/bounded"
)

// Whoever may change an instance may put a server of his own in CouchDB's place. It must
// not choose what the controller reaches, nor fill its memory.

func TestNoRedirectIsFollowed(t *testing.T) {
	reached := false
	inner := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		reached = true
		_, _ = io.WriteString(w, `{"version":"what only the controller's machine can see"}`)
	}))
	defer inner.Close()
	for _, code := range []int{http.StatusMovedPermanently, http.StatusFound, http.StatusTemporaryRedirect, http.StatusPermanentRedirect} {
		s := httptest.NewServer(http.RedirectHandler(inner.URL+"/latest/meta-data/", code))
		c := New(s.URL, "medic", secret, http.DefaultTransport)
		if version, err := c.Version(t.Context()); !IsStatus(err, code) || version != "" {
			t.Errorf("%d: version %q, %v", code, version, err)
		}
		if err := c.Configure(t.Context(), "a", "b", "c"); !IsStatus(err, code) {
			t.Errorf("%d: configure: %v", code, err)
		}
		if _, err := c.Changes(t.Context(), "medic", Feed{Idle: time.Minute}, func(Change) error { return nil }); !IsStatus(err, code) {
			t.Errorf("%d: changes: %v", code, err)
		}
		s.Close()
	}
	if reached {
		t.Error("the controller went where the answer sent it")
	}
}

func TestEndlessAnswers(t *testing.T) {
	endless := func(begin, more string) *Client {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			_, err := io.WriteString(w, begin)
			for chunk := bytes.Repeat([]byte(more), 4096/len(more)); err == nil; {
				_, err = w.Write(chunk)
			}
		}))
		t.Cleanup(s.Close)
		return New(s.URL, "medic", secret, http.DefaultTransport)
	}
	if names, err := endless(`[""`, `,""`).LocalDatabases(t.Context(), "couchdb@127.0.0.1"); !errors.Is(err, bounded.ErrTooMuch) {
		t.Errorf("%d names, %v", len(names), err)
	}
	rows := 0
	_, err := endless(`{"results":[{"id":"a","changes":[{"rev":"1-a"}]},{"id":"`, "x").Changes(t.Context(), "medic", Feed{Idle: time.Minute}, func(Change) error { rows++; return nil })
	if rows != 1 || !errors.Is(err, bounded.ErrTooMuch) {
		t.Errorf("%d rows, %v", rows, err)
	}
}
