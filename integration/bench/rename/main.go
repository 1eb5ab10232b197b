package main

import (
	"context"
	"errors"
	"io"
	"os"
	"strings"

	"github.com/medic/cht-backup/integration/bench/page"
	"github.com/medic/cht-backup/integration/couchdb/loopback"
)

func main() {
	loopback.Run()
	page.Main("rename", parse, bench)
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
	page.Head(ctx, out, strings.TrimSpace("go run ./integration/bench/rename "+strings.Join(args, " ")))
	r := &run{o: o, say: say}
	err = r.all(ctx)
	if r.product.databases > 0 && r.after.databases > 0 {
		r.report(out)
	}
	return err
}
