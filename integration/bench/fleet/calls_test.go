package main

import (
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"

	"k8s.io/client-go/rest"
)

func TestCalls(t *testing.T) {
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = fmt.Fprint(w, r.Header.Get("Authorization")) }))
	server.EnableHTTP2 = true
	server.StartTLS()
	defer server.Close()
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	c, err := countCalls(&rest.Config{Host: server.URL, TLSClientConfig: rest.TLSClientConfig{CAData: ca}})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.l.Close() }()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, c.url+"/api/v1/namespaces/n/pods?limit=500", nil)
	if err != nil {
		t.Fatal(err)
	}
	c.token = "x"
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = answer.Body.Close() }()
	if body, err := io.ReadAll(answer.Body); err != nil || string(body) != "Bearer x" || c.of["LIST pods"] != 1 {
		t.Errorf("%q, %v, counted %v", body, err, c.of)
	}
}

func TestWhat(t *testing.T) {
	for path, want := range map[string]string{
		"/api/v1/namespaces/n/pods/p":                                        "GET pods",
		"/api/v1/namespaces/n/pods/p/exec?command=sh":                        "GET pods/exec",
		"/api/v1/namespaces":                                                 "LIST namespaces",
		"/api/v1/namespaces/n":                                               "GET namespaces",
		"/apis/apps/v1/namespaces/n/deployments?limit=500":                   "LIST deployments",
		"/apis/snapshot.storage.k8s.io/v1/volumesnapshotcontents?watch=true": "WATCH volumesnapshotcontents",
		"/version": "GET /version",
	} {
		u, err := url.Parse(path)
		if err != nil {
			t.Fatal(err)
		}
		if got := what(http.MethodGet, u); got != want {
			t.Errorf("%s: %s, want %s", path, got, want)
		}
	}
}
