package main

import (
	"context"
	"errors"
	"io"
	"os"
	"strings"

	"github.com/medic/cht-backup/integration/bench/page"
	"github.com/medic/cht-backup/integration/bench/worker"
	"github.com/medic/cht-backup/integration/couchdb/loopback"
)

func main() {
	worker.Serve(role, "verify", work)
	loopback.Run()
	page.Main("verify", parse, bench)
}

// bench prints figures to out and progress to say.
func bench(ctx context.Context, o options, args []string, out, say io.Writer) (err error) {
	if o.dir == "" {
		if o.dir, err = os.MkdirTemp("", "bench-verify-*"); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, os.RemoveAll(o.dir)) }()
	}
	page.Head(ctx, out, strings.TrimSpace("go run ./integration/bench/verify "+strings.Join(args, " ")))
	r := &run{o: o, say: say}
	if err := r.all(ctx); err != nil {
		return err
	}
	r.report(out)
	return nil
}
