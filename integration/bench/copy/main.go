package main

import (
	"context"
	"errors"
	"io"
	"os"
	"strings"

	"github.com/medic/cht-backup/integration/bench/page"
	"github.com/medic/cht-backup/integration/bench/worker"
)

func main() {
	worker.Serve(role, "copy", work)
	page.Main("copy", parse, bench)
}

// bench prints figures to out and progress to say.
func bench(ctx context.Context, o options, args []string, out, say io.Writer) (err error) {
	if o.dir == "" {
		if o.dir, err = os.MkdirTemp("", "bench-copy-*"); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, os.RemoveAll(o.dir)) }()
	}
	page.Head(ctx, out, strings.TrimSpace("go run ./integration/bench/copy "+strings.Join(args, " ")))
	r := &run{o: o, say: say}
	err = r.all(ctx)
	if len(r.sizes) > 0 {
		page.Line(out, "ended", "load average %s", page.LoadAverage())
		r.report(out)
	}
	return err
}
