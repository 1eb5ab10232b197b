package page

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"
)

// Main runs a benchmark as a program with this one's arguments, until it ends or is
// told to. It exits with 2 for flags that parse refuses, with 1 when bench fails.
func Main[O any](name string, parse func(args []string) (O, error), bench func(ctx context.Context, o O, args []string, out, say io.Writer) error) {
	o, err := parse(os.Args[1:])
	switch {
	case errors.Is(err, flag.ErrHelp):
		return
	case err != nil:
		fmt.Fprintf(os.Stderr, "%s: %v\n", name, err)
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	err = bench(ctx, o, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	if err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", name, err)
		os.Exit(1)
	}
}

// Head prints what figures are worth nothing without: how they were made, when,
// where and of what.
func Head(ctx context.Context, out io.Writer, command string) {
	Line(out, "command", "%s", command)
	Line(out, "began", "%s", time.Now().Format(time.RFC3339))
	Machine(out)
	Line(out, "source", "%s", Revision(ctx))
}
