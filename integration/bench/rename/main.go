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
	loopback.Run()
	o, err := parse(os.Args[1:])
	switch {
	case errors.Is(err, flag.ErrHelp):
		return
	case err != nil:
		fmt.Fprintln(os.Stderr, "rename:", err)
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	err = bench(ctx, o, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "rename:", err)
		os.Exit(1)
	}
}

// bench prints figures to out and progress to say.
func bench(ctx context.Context, o options, args []string, out, say io.Writer) (err error) {
	if loopback.Given() != nil {
		return errors.New("COUCHDB_URLS names a cluster that runs: its nodes cannot be given other names here; name a script in COUCHDB_LAUNCH instead, see integration/couchdb/contract/doc.go")
	}
	if o.dir == "" {
		if o.dir, err = os.MkdirTemp("", "bench-rename-*"); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, os.RemoveAll(o.dir)) }()
	}
	page.Line(out, "command", "%s", strings.TrimSpace("go run ./integration/bench/rename "+strings.Join(args, " ")))
	page.Line(out, "began", "%s", time.Now().Format(time.RFC3339))
	page.Machine(out)
	page.Line(out, "source", "%s", page.Revision(ctx))
	r := &run{o: o, say: say}
	err = r.all(ctx)
	if r.product.databases > 0 && r.after.databases > 0 {
		r.report(out)
	}
	return err
}
