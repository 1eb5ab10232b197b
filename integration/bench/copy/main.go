package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/medic/cht-backup/integration/bench/page"
)

func main() {
	if os.Getenv(role) != "" {
		if err := work(context.Background(), os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, "copy:", err)
			os.Exit(1)
		}
		return
	}
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
