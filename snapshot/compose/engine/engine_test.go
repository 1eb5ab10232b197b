package engine

import (
	"errors"
	"net"
	"net/http"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

// serve plays an engine.
func serve(t *testing.T, answers map[string]string) *Client {
	t.Helper()
	socket := filepath.Join(t.TempDir(), "engine.sock")
	listener, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		answer, ok := answers[r.Method+" "+strings.TrimPrefix(r.URL.Path, "/"+version)+" "+r.URL.Query().Get("filters")]
		if !ok {
			w.WriteHeader(http.StatusNotFound)
			answer = `{"message":"no such thing"}`
		}
		_, _ = w.Write([]byte(answer))
	})}
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(func() { _ = server.Close() })
	c, err := Find(socket)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestContainers(t *testing.T) {
	c := serve(t, map[string]string{
		`GET /containers/json {"label":["com.docker.compose.project=cht"]}`: `[{"Id":"a1","Labels":{}}]`,
		`GET /containers/json {"label":["com.docker.compose.project"]}`:     `[{"Id":"a1","Labels":{"com.docker.compose.project":"cht"}},{"Id":"b","Labels":{"com.docker.compose.project":"cht"}}]`,
		`GET /containers/a1/json `: `{"Id":"a1","Image":"sha256:abc","State":{"Pid":42,"Running":true},"Config":{"Image":"registry.example.org/cht-couchdb:5","Env":["COUCHDB_USER=medic","P=a=b","X"],
			"Labels":{"com.docker.compose.service":"couchdb-1.local","com.docker.compose.project.working_dir":"/srv"}},"Mounts":[{"Type":"volume","Name":"cht_cred","Source":"/var/lib/v","Destination":"/opt/couchdb/etc/local.d"}]}`,
		`GET /images/sha256:abc/json `: `{"RepoDigests":["registry.example.org/cht-couchdb@sha256:def"]}`,
		`POST /volumes/create `:        `{"Name":"cht_cred","Mountpoint":"/var/lib/v"}`,
	})
	all, err := c.Containers(t.Context(), "cht")
	want := []Container{{ID: "a1", Service: "couchdb-1.local", Dir: "/srv", PID: 42, Image: "registry.example.org/cht-couchdb:5", Digest: "registry.example.org/cht-couchdb@sha256:def",
		Environment: map[string]string{"COUCHDB_USER": "medic", "P": "a=b"}, Mounts: []Mount{{"/var/lib/v", "/opt/couchdb/etc/local.d", "cht_cred"}}}}
	if err != nil || !reflect.DeepEqual(all, want) {
		t.Errorf("got %+v %v", all, err)
	}
	if names, err := c.Projects(t.Context()); err != nil || !reflect.DeepEqual(names, []string{"cht"}) {
		t.Errorf("projects %v %v", names, err)
	}
	if at, err := c.MakeVolume(t.Context(), "cht", "cred", "cht_cred"); err != nil || at != "/var/lib/v" {
		t.Errorf("volume at %s %v", at, err)
	}
	if _, err := c.Containers(t.Context(), "other"); err == nil || !strings.Contains(err.Error(), "no such thing") {
		t.Errorf("got %v", err)
	}
}

func TestFind(t *testing.T) {
	dir := t.TempDir()
	if _, err := Find(filepath.Join(dir, "none.sock")); !errors.Is(err, ErrNone) {
		t.Errorf("got %v", err)
	}
	if _, err := Find(dir); err == nil || errors.Is(err, ErrNone) {
		t.Errorf("a directory: %v", err)
	}
}
