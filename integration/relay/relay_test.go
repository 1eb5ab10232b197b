package relay

import (
	"net/url"
	"strings"
	"testing"
)

func TestResource(t *testing.T) {
	for path, want := range map[string]string{
		"/api/v1/namespaces":                       "namespaces",
		"/api/v1/namespaces/a":                     "namespaces a",
		"/api/v1/namespaces/a/finalize":            "namespaces a finalize",
		"/api/v1/namespaces/a/pods":                "pods",
		"/api/v1/namespaces/a/pods/p/exec":         "pods p exec",
		"/apis/apps/v1/namespaces/a/deployments/d": "deployments d",
		"/apis/apps/v1/deployments":                "deployments",
		"/apis/storage.k8s.io/v1/storageclasses/x": "storageclasses x",
		"/healthz":      "",
		"/apis":         "",
		"/api/v1":       "",
		"/apis/apps/v1": "",
	} {
		if got := strings.Join(Resource(&url.URL{Path: path}), " "); got != want {
			t.Errorf("%s: %q, not %q", path, got, want)
		}
	}
}
