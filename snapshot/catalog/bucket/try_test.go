package bucket

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// keys of all objects.
func (b *Bucket) keys(t *testing.T) (all []string) {
	t.Helper()
	i := b.blobs.List(nil)
	for {
		o, err := i.Next(t.Context())
		if err != nil {
			return all
		}
		all = append(all, o.Key)
	}
}

func TestTry(t *testing.T) {
	directory := "file://" + filepath.Join(t.TempDir(), "catalog")
	for name, open := range map[string]func(*testing.T) *Bucket{
		"memory": func(*testing.T) *Bucket { return memory() },
		"directory": func(t *testing.T) *Bucket {
			b, err := Open(t.Context(), directory)
			if err != nil {
				t.Fatal(err)
			}
			return b
		},
		"S3": func(t *testing.T) *Bucket {
			b, err := Open(t.Context(), s3URL(t))
			if err != nil {
				t.Fatal(err)
			}
			return b
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := open(t)
			if err := b.Reach(t.Context()); err != nil {
				t.Errorf("an empty place: %v", err)
			}
			for range 2 {
				if got, err := b.Try(t.Context(), "c", epoch); err != nil || !got.Deletes {
					t.Fatalf("%+v, %v", got, err)
				}
			}
			if got := b.keys(t); len(got) != 1 || got[0] != rootKey {
				t.Errorf("left behind: %v", got)
			}
			if err := b.Reach(t.Context()); err != nil {
				t.Errorf("a catalog: %v", err)
			}
		})
	}
}

// A trial leaves records, and lists of them, as they are.
func TestTryIsNoRecord(t *testing.T) {
	b := memory()
	if _, err := b.Put(t.Context(), record(t, "medic", "nightly", "u-1"), Writer{Cluster: "c", Program: "t"}); err != nil {
		t.Fatal(err)
	}
	before := b.keys(t)
	if err := b.write(t.Context(), probesUnder+"c/20260701.json", []byte("{}"), false); err != nil {
		t.Fatal(err)
	}
	n := 0
	if ignored, err := b.Heads(t.Context(), "", func(Head) error { n++; return nil }); n != 1 || ignored.Count != 0 || err != nil {
		t.Errorf("%d, %v, %v", n, ignored, err)
	}
	if _, err := b.Try(t.Context(), "c", epoch); err != nil {
		t.Fatal(err)
	}
	if after := b.keys(t); strings.Join(after, " ") != strings.Join(before, " ") {
		t.Errorf("%v, and before %v", after, before)
	}
}

// guarded is an S3 that keeps what it has: as a bucket with a lock does, or one whose
// policy has no right to delete.
type guarded struct {
	sync.Mutex
	objects        map[string][]byte
	writes, breaks bool
}

func (g *guarded) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	g.Lock()
	defer g.Unlock()
	key := strings.TrimPrefix(r.URL.Path, "/b/")
	refuse := func(status int, code string) {
		w.WriteHeader(status)
		_, _ = fmt.Fprintf(w, `<Error><Code>%s</Code><Message>no: https://h/x?X-Amz-Signature=ab12</Message></Error>`, code)
	}
	switch body, there := g.objects[key]; {
	case g.breaks:
		refuse(http.StatusBadRequest, "Broken")
	case r.Method == http.MethodPut && (there || !g.writes), r.Method == http.MethodDelete:
		refuse(http.StatusForbidden, "AccessDenied")
	case r.Method == http.MethodPut:
		g.objects[key], _ = io.ReadAll(r.Body)
	case !there:
		refuse(http.StatusNotFound, "NoSuchKey")
	default:
		w.Header().Set("Last-Modified", epoch.Format(http.TimeFormat))
		_, _ = w.Write(body)
	}
}

func TestTryWhereItIsRefused(t *testing.T) {
	g := &guarded{objects: map[string][]byte{}, writes: true}
	server := httptest.NewServer(g)
	t.Cleanup(server.Close)
	for k, v := range map[string]string{"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_EC2_METADATA_DISABLED": "true"} {
		t.Setenv(k, v)
	}
	b, err := Open(t.Context(), "s3://b?region=us-east-1&use_path_style=true&request_checksum_calculation=when_required&endpoint="+url.QueryEscape(server.URL))
	if err != nil {
		t.Fatal(err)
	}
	// A bucket that keeps everything: written, not deleted.
	if got, err := b.Try(t.Context(), "c", epoch); err != nil || got.Deletes || !strings.Contains(got.Why, "delete v1/probe/c/20260701.json") || strings.Contains(got.Why, "ab12") {
		t.Fatalf("%+v, %v", got, err)
	}
	// It cannot be replaced either: what is there shows that it could be written.
	if got, err := b.Try(t.Context(), "c", epoch.Add(time.Hour)); err != nil || got.Deletes || !strings.Contains(got.Why, "write v1/probe") {
		t.Errorf("%+v, %v", got, err)
	}
	if n := len(g.objects); n != 2 { // it, and the catalog's root
		t.Errorf("one a day, not %d", n)
	}
	// The next day shows that it can no more.
	g.writes = false
	if got, err := b.Try(t.Context(), "c", epoch.Add(24*time.Hour)); err == nil || !strings.Contains(err.Error(), "write v1/probe/c/20260702.json") || strings.Contains(err.Error(), "ab12") {
		t.Errorf("%+v, %v", got, err)
	}
	// What does not answer is not taken for a bucket that keeps everything.
	g.breaks = true
	if got, err := b.Try(t.Context(), "c", epoch); err == nil {
		t.Errorf("%+v", got)
	}
}

func TestReachRefusesAnothersPlace(t *testing.T) {
	b := memory()
	if err := b.blobs.WriteAll(t.Context(), rootKey, []byte(`{"product":"other","layout":1}`), nil); err != nil {
		t.Fatal(err)
	}
	if err := b.Reach(t.Context()); err == nil || !strings.Contains(err.Error(), "not a catalog of cht-backup's") {
		t.Errorf("%v", err)
	}
	if _, err := b.Try(t.Context(), "c", epoch); err == nil {
		t.Error("another's place is written to")
	}
}
