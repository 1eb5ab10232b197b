package chart

import (
	"context"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
)

func couchProbes(t *testing.T) corev1.Container {
	t.Helper()
	return named(t, renderCHT(t, ""), &appsv1.Deployment{}, "cht-couchdb").Spec.Template.Spec.Containers[0]
}

// TestProbesBearAHeldVolume: writes may be held for 60 s, and whatever does not answer
// meanwhile must neither be killed nor be taken from its Service.
func TestProbesBearAHeldVolume(t *testing.T) {
	c := couchProbes(t)
	for name, p := range map[string]*corev1.Probe{"liveness": c.LivenessProbe, "readiness": c.ReadinessProbe} {
		// From the first failure, which the last success may have come just before.
		if bears := time.Duration(p.FailureThreshold-1) * time.Duration(p.PeriodSeconds) * time.Second; bears < time.Minute {
			t.Errorf("%s fails after %s", name, bears)
		}
		if p.TimeoutSeconds <= 2 { // Pause is bound to 2 s
			t.Errorf("%s waits for %d s only, a pause takes 2", name, p.TimeoutSeconds)
		}
	}
	if p := c.StartupProbe; time.Duration(p.FailureThreshold)*time.Duration(p.PeriodSeconds)*time.Second < time.Hour {
		t.Errorf("a slow start is killed after %d × %d s", p.FailureThreshold, p.PeriodSeconds)
	}
	for _, service := range []string{"couchdb", "nouveau"} {
		if s := named(t, renderCHT(t, ""), &corev1.Service{}, service); !s.Spec.PublishNotReadyAddresses {
			t.Errorf("a moment without an answer takes CouchDB out of Service %s", service)
		}
	}
}

// TestProbeScripts runs the scripts as the CHT's image has the tools for them (curl),
// and as a smaller one has (busybox), against a CouchDB that lets in, does not, or is
// not there.
func TestProbeScripts(t *testing.T) {
	const user, password = "medic", "p@ss/w:rd?%+&#1 2\"'$`\\ü" + "a password that makes base64 wrap its lines"
	asks := make(chan bool, 64)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		u, p, _ := r.BasicAuth()
		asks <- r.URL.Path == "/_up"
		if u != user || p != password {
			w.WriteHeader(http.StatusUnauthorized)
		}
	}))
	t.Cleanup(server.Close)
	gone := httptest.NewServer(http.NotFoundHandler())
	gone.Close()
	c := couchProbes(t)
	for tools, path := range toolsForProbes(t) {
		for _, one := range []struct {
			name               string
			probe              *corev1.Probe
			right, wrong, none bool
		}{{"liveness", c.LivenessProbe, true, true, false}, {"startup", c.StartupProbe, true, true, false}, {"readiness", c.ReadinessProbe, true, false, false}} {
			run := func(url, password string) bool {
				command := one.probe.Exec.Command
				script := strings.ReplaceAll(command[2], "http://127.0.0.1:5984", url)
				if command[0] != "/bin/sh" || command[1] != "-c" || script == command[2] {
					t.Fatalf("%s runs %q", one.name, command)
				}
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				cmd := exec.CommandContext(ctx, filepath.Join(path, "sh"), "-c", script)
				cmd.Env = []string{"PATH=" + path, "COUCHDB_USER=" + user, "COUCHDB_PASSWORD=" + password}
				return cmd.Run() == nil
			}
			for what, c := range map[string]struct{ got, want bool }{
				"lets in": {run(server.URL, password), one.right}, "does not let in": {run(server.URL, "wrong"), one.wrong}, "is not there": {run(gone.URL, password), one.none},
			} {
				if c.got != c.want {
					t.Errorf("%s with %s: a CouchDB that %s gives %v", one.name, tools, what, c.got)
				}
			}
		}
	}
	for len(asks) > 0 {
		if !<-asks {
			t.Error("another path than /_up was asked for")
		}
	}
}

// toolsForProbes gives, by name, folders with nothing but the tools of an image.
func toolsForProbes(t *testing.T) map[string]string {
	t.Helper()
	folders := map[string]string{}
	link := func(folder, name, target string) {
		if err := os.Symlink(target, filepath.Join(folder, name)); err != nil {
			t.Fatal(err)
		}
	}
	if curl, err := exec.LookPath("curl"); err == nil {
		folders["curl"] = t.TempDir()
		link(folders["curl"], "curl", curl)
		for _, name := range []string{"sh", "base64", "tr"} {
			path, err := exec.LookPath(name)
			if err != nil {
				t.Fatal(err)
			}
			link(folders["curl"], name, path)
		}
	} else {
		t.Log("curl is not installed here: the scripts run with busybox alone")
	}
	if busybox, err := exec.LookPath("busybox"); err == nil {
		folders["busybox"] = t.TempDir()
		for _, name := range []string{"sh", "wget", "grep", "base64", "tr"} {
			link(folders["busybox"], name, busybox)
		}
	} else {
		t.Log("busybox is not installed here: the scripts run with curl alone")
	}
	if len(folders) == 0 {
		t.Skip("neither curl nor busybox is installed: the probes of CouchDB have nothing to run with")
	}
	return folders
}
