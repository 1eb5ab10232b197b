// Command kubectl-cht is the kubectl plugin: `kubectl cht backup`, `restore`,
// `schedule`, `drill`, `status` and others. It creates and reads objects with the rights of
// whoever runs it; all work on the CHT is the controller's.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/go-logr/logr"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/medic/cht-backup/cmd/kubectl-cht/internal/command"
	"github.com/medic/cht-backup/cmd/kubectl-cht/internal/exit"
)

// version is set at link time.
var version = "dev"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	// The first Ctrl-C stops the waiting and says how things stand; a second one
	// must end the process whatever it does.
	context.AfterFunc(ctx, stop)
	// Without a sink the client library prints a stack about its missing logger.
	log.SetLogger(logr.Discard())

	streams := genericiooptions.IOStreams{In: os.Stdin, Out: os.Stdout, ErrOut: os.Stderr}
	root := command.New(streams, version)
	root.SetArgs(command.Arguments(os.Args))
	err := exit.Under(ctx, root.ExecuteContext(ctx))
	if err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
	}
	os.Exit(int(exit.Of(err)))
}
