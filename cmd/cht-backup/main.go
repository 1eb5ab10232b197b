// Command cht-backup is the whole service in one binary: the controller, and
// what its pods run beside a CouchDB volume.
package main

import (
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"context"

	"github.com/spf13/cobra"
)

// version is set at link time.
var version = "dev"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	root := &cobra.Command{
		Use: "cht-backup", Short: "Backup and restore of Community Health Toolkit instances on Kubernetes",
		Version: version, SilenceUsage: true, SilenceErrors: true,
	}
	root.AddCommand(controllerCommand(), freezerCommand(), prepareCommand(), copierCommand(), fillCommand(), probeCommand(), applyCRDsCommand(), composeCommand())
	if err := root.ExecuteContext(ctx); err != nil && !errors.Is(err, context.Canceled) {
		fmt.Fprintln(os.Stderr, "cht-backup:", err)
		os.Exit(1)
	}
}
