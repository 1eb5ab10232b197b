package boot

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestCurl(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, password, _ := r.BasicAuth(); password != "b" {
			w.WriteHeader(http.StatusUnauthorized)
		}
		_, _ = w.Write([]byte("answer"))
	}))
	defer server.Close()
	header := "header = \"Authorization: Basic YTpi\"\n"
	for _, tt := range []struct {
		config, args string
		code         int
		says         string
	}{
		{"", "-s -m 5 " + server.URL, 0, "answer"},
		{"", "-s -f -m 5 " + server.URL, curlStatus, ""},
		{header, "-s -f -m 5 -o /dev/null -K - " + server.URL, 0, ""},
		{header, "-s -f -m 5 " + server.URL, curlStatus, ""},
		{"", "-s -f -m 5 http://127.0.0.1:1", curlRefused, ""},
		{"", "-s", curlUsage, ""},
	} {
		var out strings.Builder
		if code := runCurl(strings.Fields(tt.args), strings.NewReader(tt.config), &out); code != tt.code || out.String() != tt.says {
			t.Errorf("curl %s: %d, %q", tt.args, code, out.String())
		}
	}
}
