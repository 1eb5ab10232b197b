package harness

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"sync"
	"testing"
)

// EnforcePolicies lets the testbed's network enforce NetworkPolicies, all there are
// in the cluster, until stop is called or the test ends. The enforcer ends with this
// process at the latest, since it lives as long as its standard input.
func (c *Cluster) EnforcePolicies(t testing.TB) (stop func()) {
	t.Helper()
	if !c.Local {
		t.Skip("the testbed's network is the one that can be told to enforce NetworkPolicies and not to")
	}
	// Not of the test's context: it is told by its input, and cleans up.
	cmd := exec.CommandContext(context.WithoutCancel(t.Context()), c.testbed, "netpol")
	cmd.Dir = c.root
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	out, outErr := cmd.StdoutPipe()
	in, inErr := cmd.StdinPipe()
	log := &tailOf{}
	cmd.Stderr = log
	if err := errors.Join(outErr, inErr, cmd.Start()); err != nil {
		t.Fatalf("start the enforcer of NetworkPolicies: %v", err)
	}
	lines := bufio.NewScanner(out)
	said := lines.Scan() && lines.Text() == "enforcing"
	stop = sync.OnceFunc(func() {
		_ = in.Close()
		_, _ = io.Copy(io.Discard, out)
		if err := cmd.Wait(); err != nil {
			t.Errorf("the enforcer of NetworkPolicies: %v: %s", err, log)
		}
	})
	t.Cleanup(stop)
	if !said {
		stop()
		t.Fatalf("the enforcer of NetworkPolicies did not start: %s", log)
	}
	return stop
}

// tailOf keeps the end of a log.
type tailOf struct {
	mu   sync.Mutex
	text string
}

func (l *tailOf) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.text = tail(l.text+string(p), 4000)
	return len(p), nil
}

func (l *tailOf) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return fmt.Sprintf("%q", l.text)
}
