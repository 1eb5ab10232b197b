// Package relay stands between a controller and the API server, for tests and benchmarks
// that have to see what is asked.
// In: where the API server is and whose token is sent. Out: a handler that passes all on,
// and what a request asks for. It changes nothing.
package relay

import (
	"io"
	"log"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"

	"k8s.io/client-go/rest"
)

// To passes requests on to the API server of a configuration, with a token that is asked
// for at each: the controller sends none where there is no TLS.
func To(config *rest.Config, token func() string) (http.Handler, error) {
	to, err := url.Parse(config.Host)
	if err != nil {
		return nil, err
	}
	tls, err := rest.TLSConfigFor(&rest.Config{TLSClientConfig: rest.TLSClientConfig{CAData: config.CAData}})
	if err != nil {
		return nil, err
	}
	return &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(to)
			r.Out.Header.Set("Authorization", "Bearer "+token())
		},
		Transport: &http.Transport{TLSClientConfig: tls, MaxIdleConnsPerHost: 100}, FlushInterval: -1, ErrorLog: log.New(io.Discard, "", 0),
	}, nil
}

// Resource gives what a request's path asks for, from the resource's name on: pods, or
// pods, NAME, exec; nil where it is no resource.
func Resource(u *url.URL) []string {
	parts := strings.Split(strings.Trim(u.Path, "/"), "/")
	switch {
	case parts[0] == "api" && len(parts) > 2:
		parts = parts[2:]
	case parts[0] == "apis" && len(parts) > 3:
		parts = parts[3:]
	default:
		return nil
	}
	if parts[0] == "namespaces" && len(parts) > 2 && parts[2] != "finalize" && parts[2] != "status" {
		parts = parts[2:]
	}
	return parts
}
