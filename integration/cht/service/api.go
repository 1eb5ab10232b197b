package service

import (
	"context"
	"net/http"
	"net/http/httputil"
	"net/url"

	"github.com/medic/cht-backup/integration/cht/couch"
)

// API passes everything on to CouchDB with the client's own credentials. GET /
// tells whether CouchDB can be reached with the API's own.
func API(ctx context.Context, couchURL string) (http.Handler, error) {
	base, user, password, database, err := couch.FromEnvironment(couchURL)
	if err != nil {
		return nil, err
	}
	target, err := url.Parse(base)
	if err != nil {
		return nil, err
	}
	transport := couch.Transport(64)
	own := couch.New(base, user, password, transport)
	proxy := &httputil.ReverseProxy{Transport: transport, FlushInterval: -1, Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(target)
		r.Out.Header.Set("X-Medic-Service", "api")
	}}
	mux := http.NewServeMux()
	mux.Handle("/", proxy)
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, r *http.Request) {
		if err := own.Get(r.Context(), "/"+database, nil); err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write([]byte(`{"status":"ok"}` + "\n")) // the client is gone
	})
	return mux, nil
}
