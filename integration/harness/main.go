package harness

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"testing"
)

// Suite is what a package's TestMain makes once for all its tests.
type Suite struct {
	cluster *Cluster
	missing error
}

// Main is a package's TestMain: it gets the cluster, installs the product where
// wanted, and runs the tests. That no cluster can be had is not a failure: each
// test skips with the reason. That one is broken is.
func (s *Suite) Main(m *testing.M, controller bool) {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	c, err := Start(ctx, os.Stderr, controller)
	if err == nil && controller {
		err = c.InstallController(ctx)
	}
	stop()
	if errors.Is(err, ErrNoCluster) {
		s.missing, err = err, nil
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "set up:", err)
		os.Exit(1)
	}
	s.cluster = c
	os.Exit(m.Run())
}

// Cluster gives it to a test, or skips the test.
func (s *Suite) Cluster(t testing.TB) *Cluster {
	t.Helper()
	if s.missing != nil {
		t.Skip(s.missing)
	}
	return s.cluster
}
