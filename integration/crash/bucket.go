package main

import (
	"crypto/md5" //nolint:gosec // what S3 calls an ETag
	"encoding/xml"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// store is what the catalog is in: the little of S3 that it takes, in memory.
type store struct {
	mu      sync.Mutex
	objects map[string]object // by the path of the URL
	away    time.Time         // until then it answers that it is too busy
}

type object struct {
	data []byte
	at   time.Time
}

func (o object) tag() string { return fmt.Sprintf("%q", fmt.Sprintf("%x", md5.Sum(o.data))) } //nolint:gosec // see the import

func (s *store) leave(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.away = time.Now().Add(d)
}

// keys that hold a text.
func (s *store) keys(text string) (found []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for key := range s.objects {
		if strings.Contains(key, text) {
			found = append(found, key)
		}
	}
	slices.Sort(found)
	return found
}

func (s *store) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if time.Now().Before(s.away) {
		refuse(w, http.StatusServiceUnavailable, "SlowDown")
		return
	}
	o, there := s.objects[r.URL.Path]
	switch {
	case r.Method == http.MethodGet && r.URL.Query().Has("list-type"):
		s.list(w, r)
	case len(r.URL.Query()) > 0 && !r.URL.Query().Has("x-id"):
		refuse(w, http.StatusNotImplemented, "NotImplemented")
	case r.Method == http.MethodPut && there && r.Header.Get("If-None-Match") == "*":
		refuse(w, http.StatusPreconditionFailed, "PreconditionFailed")
	case r.Method == http.MethodPut && r.Header.Get("X-Amz-Copy-Source") == "":
		o = object{body, time.Now()}
		s.objects[r.URL.Path] = o
		w.Header().Set("ETag", o.tag())
	case r.Method == http.MethodDelete:
		delete(s.objects, r.URL.Path)
		w.WriteHeader(http.StatusNoContent)
	case !there:
		refuse(w, http.StatusNotFound, "NoSuchKey")
	case r.Method == http.MethodGet || r.Method == http.MethodHead:
		w.Header().Set("ETag", o.tag())
		w.Header().Set("Content-Type", "application/octet-stream")
		http.ServeContent(w, r, "", o.at, strings.NewReader(string(o.data)))
	default:
		refuse(w, http.StatusNotImplemented, "NotImplemented")
	}
}

func refuse(w http.ResponseWriter, status int, code string) {
	w.Header().Set("Content-Type", "application/xml")
	w.WriteHeader(status)
	_, _ = fmt.Fprintf(w, "<Error><Code>%s</Code><Message>%s</Message></Error>", code, code)
}

type listed struct {
	XMLName               xml.Name `xml:"ListBucketResult"`
	IsTruncated           bool
	NextContinuationToken string        `xml:",omitempty"`
	Contents              []listedEntry `xml:"Contents"`
	CommonPrefixes        []struct{ Prefix string }
}

type listedEntry struct {
	Key, LastModified, ETag string
	Size                    int
}

func (s *store) list(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	root := strings.TrimRight(r.URL.Path, "/") + "/"
	most, err := strconv.Atoi(q.Get("max-keys"))
	if err != nil {
		most = 1000
	}
	from := max(q.Get("continuation-token"), q.Get("start-after"))
	var l listed
	for _, path := range slices.Sorted(maps.Keys(s.objects)) {
		key, ours := strings.CutPrefix(path, root)
		below, ours2 := strings.CutPrefix(key, q.Get("prefix"))
		if !ours || !ours2 {
			continue
		}
		if d := q.Get("delimiter"); d != "" {
			if first, _, cut := strings.Cut(below, d); cut {
				key = q.Get("prefix") + first + d
			}
		}
		n := len(l.CommonPrefixes)
		if key <= from || n > 0 && l.CommonPrefixes[n-1].Prefix == key {
			continue
		}
		if n+len(l.Contents) == most {
			l.IsTruncated = true
			break
		}
		l.NextContinuationToken = key
		if key != strings.TrimPrefix(path, root) {
			l.CommonPrefixes = append(l.CommonPrefixes, struct{ Prefix string }{key})
			continue
		}
		o := s.objects[path]
		l.Contents = append(l.Contents, listedEntry{key, o.at.UTC().Format(time.RFC3339), o.tag(), len(o.data)})
	}
	if !l.IsTruncated {
		l.NextContinuationToken = ""
	}
	w.Header().Set("Content-Type", "application/xml")
	_ = xml.NewEncoder(w).Encode(l)
}
