package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// The benchmark of many instances, with few: it fails when a backup does, when a cut
// lies outside its hold, and when something is left behind.
func TestFleet(t *testing.T) {
	c := suite.Cluster(t)
	if !c.Local {
		t.Skip("the API server of another cluster need not reach this machine, where the benchmark answers as a kubelet")
	}
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "go", "run", "./integration/bench/fleet", "--instances", "3", "--parallel", "1", "--ready", "500ms")
	cmd.Dir, cmd.Stderr = root, os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, want := range []string{"Correct: every backup is Consistent", "memory at most 150 MB with 3 instances"} {
		if !strings.Contains(string(out), want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
}
