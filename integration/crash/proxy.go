package main

import (
	"bytes"
	"encoding/json"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	api "github.com/medic/cht-backup/api/v1alpha1"
)

// script is what goes wrong in the present trial, and what was passed.
type script struct {
	mu     sync.Mutex
	left   []fault
	passed map[string]int // since the last fault
	seen   map[string]int // since begin
	order  []string       // of seen
	strike func(fault)    // does it; the controller is dead when it returns from a kill
	struck []fault
}

func (s *script) begin(faults []fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.left, s.passed, s.seen, s.order, s.struck = faults, map[string]int{}, map[string]int{}, nil, nil
}

// end lets nothing more go wrong, and tells what did.
func (s *script) end() (struck []fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.left = nil
	return s.struck
}

// pass counts a crash point and gives the fault that comes with it.
func (s *script) pass(name string) *fault {
	s.mu.Lock()
	defer s.mu.Unlock()
	if name == "" || s.passed == nil {
		return nil
	}
	if s.seen[name]++; s.seen[name] == 1 {
		s.order = append(s.order, name)
	}
	s.passed[name]++
	s.passed[anywhere]++
	if len(s.left) == 0 || s.left[0].at != name && s.left[0].at != anywhere || s.passed[s.left[0].at] != s.left[0].nth {
		return nil
	}
	f := s.left[0]
	f.at = name
	s.left, s.passed, s.struck = s.left[1:], map[string]int{}, append(s.struck, f)
	return &f
}

// proxy stands between the controller and a server.
type proxy struct {
	url   string
	name  func(r *http.Request, body []byte) string
	to    http.Handler
	s     *script
	serve *http.Server

	mu   sync.Mutex
	open map[net.Conn]bool // true: a stream
	away time.Time         // until then nobody is there
}

func listen(s *script, to http.Handler, name func(*http.Request, []byte) string) (*proxy, error) {
	p := &proxy{name: name, to: to, s: s, open: map[net.Conn]bool{}}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	p.url = "http://" + l.Addr().String()
	p.serve = &http.Server{Handler: p, ReadHeaderTimeout: time.Minute, ErrorLog: log.New(io.Discard, "", 0), ConnState: func(c net.Conn, is http.ConnState) {
		p.mu.Lock()
		defer p.mu.Unlock()
		switch is {
		case http.StateNew:
			p.open[c] = false
		case http.StateHijacked:
			p.open[c] = true
		case http.StateClosed:
			delete(p.open, c)
		default:
		}
	}}
	go func() { _ = p.serve.Serve(l) }()
	return p, nil
}

// narrow shows a controller, which serves every namespace, only what is of one world, so
// that many can be on one cluster: our kinds are listed and watched by a label, which all
// of them get, and those of others are not found.
type narrow struct {
	world string
	next  http.Handler
}

var kinds = "/apis/" + api.GroupVersion.Group + "/"

func (n narrow) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	rest, ours := strings.CutPrefix(r.URL.Path, kinds)
	parts := strings.Split(rest, "/") // version, kind; or version, namespaces, NAMESPACE, kind, …
	switch {
	case !ours:
	case len(parts) > 3 && !strings.HasPrefix(parts[2], n.world):
		http.Error(w, `{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"NotFound","code":404}`, http.StatusNotFound)
		return
	case r.Method == http.MethodGet && len(parts) == 2:
		q := r.URL.Query()
		q.Set("labelSelector", mark+"="+n.world)
		r.URL.RawQuery = q.Encode()
	case r.Method == http.MethodPost && len(parts) == 4:
		o := &unstructured.Unstructured{}
		body, err := io.ReadAll(r.Body)
		if err == nil {
			err = json.Unmarshal(body, &o.Object)
		}
		if err == nil {
			labels := o.GetLabels()
			if labels == nil {
				labels = map[string]string{}
			}
			labels[mark] = n.world
			o.SetLabels(labels)
			body, err = json.Marshal(o.Object)
		}
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	}
	n.next.ServeHTTP(w, r)
}

// largest body that is looked into.
const largest = 16 << 20

func (p *proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if p.isAway() {
		drop(w)
		return
	}
	if r.Method == http.MethodGet && r.Header.Get("Upgrade") == "" {
		p.to.ServeHTTP(w, r)
		return
	}
	stream := r.Header.Get("Upgrade") != ""
	var body []byte
	if !stream {
		var err error
		if body, err = io.ReadAll(io.LimitReader(r.Body, largest)); err != nil {
			return // the controller has gone
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
	}
	f := p.s.pass(p.name(r, body))
	switch {
	case f == nil:
		p.to.ServeHTTP(w, r)
	case f.when == before:
		p.s.strike(*f)
		if f.what == controllerKill || f.what == apiAway {
			drop(w)
			return
		}
		p.to.ServeHTTP(w, r)
	case f.when == later || stream: // a stream has its effect as long as it lasts
		time.AfterFunc(f.wait, func() { p.s.strike(*f) })
		p.to.ServeHTTP(w, r)
	default:
		answer := httptest.NewRecorder()
		p.to.ServeHTTP(answer, r)
		p.s.strike(*f)
		if f.what == controllerKill || f.what == apiAway || f.what == answerLost {
			drop(w)
			return
		}
		for key, values := range answer.Header() {
			w.Header()[key] = values
		}
		w.WriteHeader(answer.Code)
		_, _ = w.Write(answer.Body.Bytes())
	}
}

// drop ends the connection without an answer.
func drop(w http.ResponseWriter) {
	if conn, _, err := http.NewResponseController(w).Hijack(); err == nil {
		_ = conn.Close()
	}
}

func (p *proxy) isAway() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return time.Now().Before(p.away)
}

// cut closes the streams, or everything.
func (p *proxy) cut(all bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for conn, stream := range p.open {
		if stream || all {
			_ = conn.Close()
			delete(p.open, conn)
		}
	}
}

// leave is away for a while.
func (p *proxy) leave(d time.Duration) {
	p.mu.Lock()
	p.away = time.Now().Add(d)
	p.mu.Unlock()
	p.cut(true)
}
