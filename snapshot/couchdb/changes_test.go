package couchdb

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"
)

const feedOf3 = `{"results":[
{"seq":"1-x","id":"a","changes":[{"rev":"1-a"}],"doc":{"_id":"a","_attachments":{"p":{"stub":true,"digest":"md5-q","length":7}}}},
{"seq":"2-x","id":"_design/d","changes":[{"rev":"2-b"},{"rev":"2-a"}],"doc":{"_id":"_design/d","_conflicts":["2-a"]}},
{"seq":"3-x","id":"c","deleted":true,"changes":[{"rev":"3-c"}],"doc":null}
],
"last_seq":"3-x","pending":0}
`

func TestChanges(t *testing.T) {
	c, seen := server(t, always(200, feedOf3))
	var got []Change
	last, err := c.Changes(t.Context(), "medic/a+b", Feed{Bodies: true, Idle: time.Minute}, func(one Change) error {
		got = append(got, one)
		return nil
	})
	if err != nil || last != "3-x" || len(got) != 3 {
		t.Fatalf("%v, %q, %v", got, last, err)
	}
	if got[0].ID != "a" || got[0].Doc.Attachments["p"].Digest != "md5-q" || got[0].Deleted ||
		!slices.Equal(got[1].Revs, []string{"2-b", "2-a"}) || got[1].Doc.Conflicts[0] != "2-a" || !got[2].Deleted || got[2].Doc != nil {
		t.Errorf("%+v", got)
	}
	if r := seen()[0]; r.path != "/medic%2Fa%2Bb/_changes" || !strings.Contains(r.query, "style=all_docs") || !strings.Contains(r.query, "since=0") || !strings.Contains(r.query, "include_docs=true") {
		t.Errorf("asked %+v", r)
	}
	stop := errors.New("enough")
	if _, err := c.Changes(t.Context(), "medic", Feed{Idle: time.Minute}, func(Change) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("%v", err)
	}
}

// A feed that ends early must never look like a small database.
func TestChangesIncomplete(t *testing.T) {
	none := func(Change) error { return nil }
	for at := range len(feedOf3) - 2 {
		c, _ := server(t, always(200, feedOf3[:at]))
		if last, err := c.Changes(t.Context(), "medic", Feed{Idle: time.Minute}, none); !errors.Is(err, ErrBroken) {
			t.Fatalf("cut at %d: %q, %v", at, last, err)
		}
	}
	for _, text := range []string{`[]`, `{}`, `{"results":[]}`, `{"last_seq":"1-x"}`, strings.Replace(feedOf3, "],\n", "],\n\"error\":\"timeout\",", 1),
		`{"results":[{"id":"a","changes":[]},` + "\n\n" + `{"error":"internal_server_error","reason":"x"}`} {
		c, _ := server(t, always(200, text))
		if _, err := c.Changes(t.Context(), "medic", Feed{Idle: time.Minute}, none); !errors.Is(err, ErrBroken) {
			t.Errorf("%.60s: %v", text, err)
		}
	}
	c, _ := server(t, always(404, `{"error":"not_found","reason":"Database does not exist."}`))
	if _, err := c.Changes(t.Context(), "medic", Feed{Idle: time.Minute}, none); !IsStatus(err, 404) {
		t.Errorf("%v", err)
	}
}

// made serves a feed of n documents that is nowhere held as a whole, and then
// hangs if told to.
type made struct {
	rows int
	hang bool
}

func (m made) RoundTrip(r *http.Request) (*http.Response, error) {
	in, out := io.Pipe()
	stop := context.AfterFunc(r.Context(), func() { _ = out.CloseWithError(r.Context().Err()) })
	go func() {
		defer stop()
		_, _ = io.WriteString(out, `{"results":[`)
		for i := range m.rows {
			comma := ","
			if i == 0 {
				comma = ""
			}
			if _, err := fmt.Fprintf(out, `%s{"seq":"%d-g1AAAAH5eJzLYWBg4MlgTmEQTM4vTc5ISXIwNDLXM9Cz0DPOAUox5bEwLF","id":"%032d","changes":[{"rev":"1-%032d"}],"doc":{"_id":"%d","note":"some text that is not kept"}}`, comma, i, i, i, i); err != nil {
				return
			}
		}
		if m.hang {
			<-r.Context().Done()
			return
		}
		_, _ = io.WriteString(out, `],"last_seq":"9-x","pending":0}`)
		_ = out.Close()
	}()
	return &http.Response{StatusCode: 200, Body: in, Header: http.Header{}, Request: r}, nil
}

// The memory that a stream takes does not grow with the number of documents.
func TestChangesInBoundedMemory(t *testing.T) {
	live := func(rows int) (most uint64) {
		c := New("http://couchdb", "medic", "pw", made{rows: rows})
		n := 0
		var stats runtime.MemStats
		_, err := c.Changes(t.Context(), "medic", Feed{Bodies: true, Idle: time.Minute}, func(Change) error {
			if n++; n%(rows/5) == 0 {
				runtime.GC()
				runtime.ReadMemStats(&stats)
				most = max(most, stats.HeapAlloc)
			}
			return nil
		})
		if err != nil || n != rows {
			t.Fatalf("%d rows, %v", n, err)
		}
		return most
	}
	const few, many = 2000, 200000 // 0.5 and 50 MB of feed
	small, large := live(few), live(many)
	t.Logf("live heap with %d rows %d kB, with %d rows %d kB", few, small>>10, many, large>>10)
	if large > small+4<<20 {
		t.Errorf("%d rows take %d bytes more than %d", many, large-small, few)
	}
}

// A stream may take any time, as long as something comes.
func TestChangesIdle(t *testing.T) {
	c := New("http://couchdb", "medic", "pw", made{rows: 100, hang: true})
	n := 0
	_, err := c.Changes(t.Context(), "medic", Feed{Idle: 50 * time.Millisecond}, func(Change) error {
		if n++; n == 50 {
			time.Sleep(200 * time.Millisecond) // the reader's own time does not count
		}
		return nil
	})
	if !errors.Is(err, ErrIdle) || n != 100 {
		t.Errorf("%d rows, %v", n, err)
	}
}
