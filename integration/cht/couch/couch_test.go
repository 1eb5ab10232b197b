package couch

import (
	"net/http"
	"net/http/httptest"
	"testing"
	"time"
)

// A client that is patient tries again where HAProxy had no server, and nowhere
// else; any other never does.
func TestPatient(t *testing.T) {
	for _, tt := range []struct {
		name     string
		text     string
		patience time.Duration
		good     bool
		asked    int
	}{
		{"patient", "<html><body><h1>503 Service Unavailable</h1>\nNo server is available to handle this request.\n</body></html>", time.Minute, true, 3},
		{"not patient", "<html>No server is available to handle this request.</html>", 0, false, 1},
		{"CouchDB's own 503", `{"error":"nodedown","reason":"progress not possible"}`, time.Minute, false, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			asked := 0
			s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				if asked++; asked < 3 {
					http.Error(w, tt.text, http.StatusServiceUnavailable)
				}
			}))
			defer s.Close()
			err := New(s.URL, "", "", http.DefaultTransport).Patient(tt.patience).Do(t.Context(), http.MethodPut, "/medic", nil, nil)
			if (err == nil) != tt.good || asked != tt.asked {
				t.Errorf("asked %d times, want %d: %v", asked, tt.asked, err)
			}
		})
	}
}
