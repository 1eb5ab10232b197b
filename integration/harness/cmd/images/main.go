// Command images builds every image of the tests and prints, for each, its name
// and the file it is in.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/medic/cht-backup/integration/harness"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	built, err := harness.BuildImages(ctx)
	if err != nil {
		fmt.Fprintln(os.Stderr, "images:", err)
		os.Exit(1)
	}
	for kind, a := range built {
		fmt.Printf("%s\t%s\t%s\n", kind, a.Name, a.File)
	}
}
