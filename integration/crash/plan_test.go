package main

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"reflect"
	"strings"
	"testing"

	api "github.com/medic/cht-backup/api/v1alpha1"
)

func TestDrawRepeats(t *testing.T) {
	points := []point{{"backup", "POST pods freezer", 2}, {"clone", "POST persistentvolumeclaims", 2}, {"drill", "POST namespaces", 1}}
	a, b := draw(7, 100, points, true), draw(7, 100, points, true)
	if !reflect.DeepEqual(a, b) {
		t.Error("the same seed draws other trials")
	}
	if reflect.DeepEqual(a, draw(8, 100, points, true)) {
		t.Error("another seed draws the same trials")
	}
	// All points have their turn before one has its second.
	for i := 0; i+len(points) <= len(a); i += len(points) {
		seen := map[string]bool{}
		for _, one := range a[i : i+len(points)] {
			seen[one.op+one.faults[0].at] = true
		}
		if len(seen) != len(points) {
			t.Fatalf("trials %d to %d begin with %v", i+1, i+len(points), seen)
		}
	}
	what := map[string]int{}
	for _, one := range a {
		for _, f := range one.faults {
			what[f.what]++
		}
	}
	for _, w := range append(append([]string{controllerKill}, others...), ofNode...) {
		if what[w] == 0 {
			t.Errorf("%s is never drawn: %v", w, what)
		}
	}
	for _, one := range draw(7, 100, points, false) {
		for _, f := range one.faults {
			if f.what == kubeletKill || f.what == driverKill || f.what == serverKill {
				t.Fatalf("%s is drawn for a node that shall live", f)
			}
		}
	}
}

func TestKubePoint(t *testing.T) {
	for _, tt := range []struct{ method, url, body, want string }{
		{"GET", "/api/v1/namespaces/a/pods", "", ""},
		{"PATCH", "/apis/backup.communityhealthtoolkit.org/v1alpha1/namespaces/a/backups/b/status", `{"status":{"phase":"Cutting"}}`, "PATCH backups/status Cutting"},
		{"PATCH", "/apis/backup.communityhealthtoolkit.org/v1alpha1/namespaces/a/backups/b", `{"metadata":{"finalizers":[]}}`, "PATCH backups"},
		{"POST", "/api/v1/namespaces/a/pods", `{"metadata":{"labels":{"` + api.RoleLabel + `":"freezer","x":"y"}}}`, "POST pods freezer"},
		{"POST", "/api/v1/namespaces/a/pods", "k8s\x00\n\x2f" + api.RoleLabel + "\x12\x0eprepare-volume\x1a", "POST pods prepare-volume"},
		{"DELETE", "/api/v1/namespaces/a/pods/p", "", "DELETE pods"},
		{"POST", "/api/v1/namespaces", "", "POST namespaces"},
		{"DELETE", "/api/v1/namespaces/a", "", "DELETE namespaces"},
		{"PATCH", "/api/v1/persistentvolumes/v", "", "PATCH persistentvolumes"},
		{"PUT", "/apis/coordination.k8s.io/v1/namespaces/a/leases/l", "", ""},
		{"POST", "/api/v1/namespaces/a/pods/p/exec?command=%2Fcht-backup&command=freezer&command=hold", "", "exec freezer hold"},
		{"POST", "/api/v1/namespaces/a/pods/p/exec?command=sh&command=-c&command=x&command=cht-pause&command=2", "", "exec cht-pause"},
		{"POST", "/api", "", ""},
	} {
		u, err := url.Parse(tt.url)
		if err != nil {
			t.Fatal(err)
		}
		if is := kubePoint(tt.method, u, []byte(tt.body)); is != tt.want {
			t.Errorf("%s %s is %q, want %q", tt.method, tt.url, is, tt.want)
		}
	}
}

func TestBucketPoint(t *testing.T) {
	for path, want := range map[string]string{
		"/crash/v1/heads/ns-1/20260101T000000_b_1234.json": "PUT bucket/v1/heads", "/crash/cht-catalog.json": "PUT bucket",
		"/crash/v1/files/r4x/packs/0a/0b9": "PUT bucket/v1/files/packs",
	} {
		if is := bucketPoint("PUT", &url.URL{Path: path}); is != want {
			t.Errorf("%s is %q, want %q", path, is, want)
		}
	}
}

// TestFaults: a fault comes at its request and no other, and what it says becomes of the
// request does.
func TestFaults(t *testing.T) {
	served, struck := 0, 0
	s := &script{strike: func(fault) { struck++ }}
	p, err := listen(s, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { served++ }), nameKube)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = p.serve.Close() }()
	post := func(kind string) error {
		answer, err := http.Post(p.url+"/api/v1/namespaces/a/"+kind, "application/json", strings.NewReader("{}"))
		if err == nil {
			err = answer.Body.Close()
		}
		return err
	}
	s.begin([]fault{{what: controllerKill, at: "POST secrets", nth: 2, when: before}, {what: answerLost, at: anywhere, nth: 1, when: after}})
	for i, want := range []struct {
		kind           string
		served, struck int
		fails          bool
	}{{"secrets", 1, 0, false}, {"services", 2, 0, false}, {"secrets", 2, 1, true}, {"services", 3, 2, true}, {"secrets", 4, 2, false}} {
		if err := post(want.kind); (err != nil) != want.fails || served != want.served || struck != want.struck {
			t.Fatalf("request %d: %v, %d served, %d struck; want %+v", i, err, served, struck, want)
		}
	}
}

func TestPointsFile(t *testing.T) {
	points, err := parsePoints(pointsText)
	if err != nil {
		t.Fatal(err)
	}
	had := map[string]bool{}
	for _, p := range points {
		had[p.op] = true
	}
	for _, op := range operations {
		if !had[op] {
			t.Errorf("%s has no crash point of %s: go run ./integration/crash --record", pointsFile, op)
		}
	}
	if text := formatPoints(points); text != pointsText {
		t.Errorf("%s is not as --record writes it", pointsFile)
	}
}

// TestStore holds the bucket to what the catalog relies on.
func TestStore(t *testing.T) {
	s := &store{objects: map[string]object{}}
	do := func(method, target, body, ifNone string) *httptest.ResponseRecorder {
		r := httptest.NewRequest(method, target, strings.NewReader(body))
		r.Header.Set("If-None-Match", ifNone)
		w := httptest.NewRecorder()
		s.ServeHTTP(w, r)
		return w
	}
	for _, key := range []string{"a/1", "a/2", "b/1"} {
		do("PUT", "/crash/"+key, key, "")
	}
	if w := do("PUT", "/crash/a/1", "other", "*"); w.Code != http.StatusPreconditionFailed {
		t.Errorf("an object was replaced: %d", w.Code)
	}
	if w := do("GET", "/crash/a/1", "", ""); w.Body.String() != "a/1" {
		t.Errorf("it holds %q", w.Body)
	}
	first := do("GET", "/crash?list-type=2&max-keys=1&delimiter=/", "", "").Body.String()
	if !strings.Contains(first, "<Prefix>a/</Prefix>") || !strings.Contains(first, "<NextContinuationToken>a/<") {
		t.Error(first)
	}
	if second := do("GET", "/crash?list-type=2&max-keys=1&delimiter=/&continuation-token=a/", "", "").Body.String(); !strings.Contains(second, "<Prefix>b/</Prefix>") || strings.Contains(second, "NextContinuationToken") {
		t.Error(second)
	}
}
