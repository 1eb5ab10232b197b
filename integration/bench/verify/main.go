package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/medic/cht-backup/integration/bench/page"
	"github.com/medic/cht-backup/integration/couchdb/loopback"
)

func main() {
	if os.Getenv(role) != "" {
		end(work(context.Background(), os.Stdin, os.Stdout, os.Stderr))
		return
	}
	loopback.Run()
	o, err := parse(os.Args[1:])
	switch {
	case errors.Is(err, flag.ErrHelp):
		return
	case err != nil:
		fmt.Fprintln(os.Stderr, "verify:", err)
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	err = bench(ctx, o, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	end(err)
}

func end(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "verify:", err)
		os.Exit(1)
	}
}

// bench prints figures to out and progress to say.
func bench(ctx context.Context, o options, args []string, out, say io.Writer) (err error) {
	if o.dir == "" {
		if o.dir, err = os.MkdirTemp("", "bench-verify-*"); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, os.RemoveAll(o.dir)) }()
	}
	page.Line(out, "command", "%s", strings.TrimSpace("go run ./integration/bench/verify "+strings.Join(args, " ")))
	page.Line(out, "began", "%s", time.Now().Format(time.RFC3339))
	page.Machine(out)
	page.Line(out, "source", "%s", page.Revision(ctx))
	r := &run{o: o, say: say}
	if err := r.all(ctx); err != nil {
		return err
	}
	r.report(out)
	return nil
}
