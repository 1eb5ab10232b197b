package main

import (
	"context"
	"fmt"
	"os"
	"strconv"

	"github.com/medic/cht-backup/integration/harness"
)

// guardWithin is when the testbed's volumes are thawed from outside, whatever
// becomes of the product and of this program.
const guardWithin = "3m"

// guard arms that thaw, where the cluster is the testbed: there a file system that
// stays frozen would outlive the cluster. disarm ends it.
func guard(ctx context.Context, c *harness.Cluster) (disarm func(), err error) {
	if !c.Local {
		return func() {}, nil
	}
	out, err := c.Testbed(ctx, "arm-thaw", guardWithin)
	if err != nil {
		return nil, fmt.Errorf("arm a thaw from outside: %w", err)
	}
	pid, err := strconv.Atoi(out)
	if err != nil {
		return nil, fmt.Errorf("arm a thaw from outside: %q is no process", out)
	}
	process, err := os.FindProcess(pid)
	if err != nil {
		return nil, fmt.Errorf("arm a thaw from outside: %w", err)
	}
	return func() { _ = process.Kill() }, nil // it has ended when it has fired
}
