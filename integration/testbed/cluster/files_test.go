package cluster

import (
	"context"
	"io"
	"io/fs"
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"
)

func bed(t *testing.T) *Testbed {
	return &Testbed{Dir: t.TempDir(), Log: io.Discard}
}

func TestTemplatesRender(t *testing.T) {
	tb := bed(t)
	for _, dir := range []string{"files", "manifests"} {
		entries, err := fs.ReadDir(embedded, dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			data, err := tb.render(dir + "/" + e.Name())
			if err != nil || strings.Contains(string(data), "{{") {
				t.Errorf("%s: %v\n%s", e.Name(), err, data)
			}
			if !strings.HasSuffix(e.Name(), ".yaml") {
				continue
			}
			for _, doc := range strings.Split(string(data), "\n---") {
				var o map[string]any
				if err := yaml.Unmarshal([]byte(doc), &o); err != nil || o["kind"] == nil {
					t.Errorf("%s: %v in\n%s", e.Name(), err, doc)
				}
			}
		}
	}
}

func TestStopOrderKeepsTheServersLast(t *testing.T) {
	tb := bed(t)
	order := tb.stopOrder()
	if tail := order[len(order)-3:]; !slices.Equal(tail, []string{containerd, apiserver, etcd}) {
		t.Errorf("ends with %v", tail)
	}
	if len(order) != len(tb.components(nil)) {
		t.Errorf("%d of %d components are stopped", len(order), len(tb.components(nil)))
	}
	// The kubelet would start again what is being stopped.
	if slices.Index(order, kubelet) > slices.Index(order, containerd) {
		t.Error("containerd stops before the kubelet")
	}
}

func TestFollowersAreComponents(t *testing.T) {
	all := bed(t).components(nil)
	for _, c := range all {
		for _, name := range c.followers {
			if !slices.ContainsFunc(all, func(o component) bool { return o.name == name }) {
				t.Errorf("%s is followed by %s, which is none", c.name, name)
			}
		}
	}
}

func TestForeignDirectoriesAreRefused(t *testing.T) {
	for _, dir := range []string{"relative", "/", "/var"} {
		if err := (&Testbed{Dir: dir, Log: io.Discard}).Down(context.Background()); err == nil || !strings.Contains(err.Error(), "TESTBED_DIR") {
			t.Errorf("%s: %v", dir, err)
		}
	}
}
