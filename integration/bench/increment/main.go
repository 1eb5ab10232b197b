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
	page.Main("increment", parse, bench)
}

// bench prints figures to out and progress to say.
func bench(ctx context.Context, o options, args []string, out, say io.Writer) (err error) {
	if loopback.Given() != nil {
		return errors.New("COUCHDB_URLS names a cluster that runs: its files are not here; name a script in COUCHDB_LAUNCH instead, see integration/couchdb/contract/doc.go")
	}
	if o.dir == "" {
		if o.dir, err = os.MkdirTemp("", "bench-increment-*"); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, os.RemoveAll(o.dir)) }()
	}
	page.Head(ctx, out, strings.TrimSpace("go run ./integration/bench/increment "+strings.Join(args, " ")))
	r := &run{o: o, say: say, ways: ways(o.sizes), docs: newDocuments(1)}
	err = r.all(ctx)
	if len(r.steps) > 0 {
		r.report(out)
	}
	return err
}
