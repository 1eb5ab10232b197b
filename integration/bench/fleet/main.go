package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/medic/cht-backup/integration/bench/page"
	"github.com/medic/cht-backup/integration/couchdb/loopback"
	"github.com/medic/cht-backup/integration/harness"
)

// removeWithin bounds the way out: a small machine ends a namespace a second, and
// there are hundreds.
const removeWithin = 20 * time.Minute

func main() {
	loopback.Run()
	page.Main("fleet", parse, bench)
}

// bench prints figures to out and progress to say.
func bench(ctx context.Context, o options, args []string, out, say io.Writer) (err error) {
	c, err := harness.Start(ctx, nil, false)
	if err != nil {
		return err
	}
	page.Head(ctx, out, strings.TrimSpace("go run ./integration/bench/fleet "+strings.Join(args, " ")))
	page.Line(out, "controller", "parallel-backups %d, of a driver %d, %.0f requests/s; its driver cuts in %s and is ready %s later", o.parallel, o.perDriver, o.requests, o.cut, o.ready)
	f := &fleet{c: c, o: o, out: out, say: say}
	defer func() {
		ctx, cancel := context.WithTimeoutCause(context.WithoutCancel(ctx), removeWithin, errors.New("not done after "+removeWithin.String()))
		defer cancel()
		err = errors.Join(err, f.end(ctx))
	}()
	if err := f.begin(ctx); err != nil {
		return err
	}
	var all []figures
	for _, n := range o.instances {
		one, err := f.measure(ctx, n)
		if err != nil {
			report(out, all)
			return fmt.Errorf("%d instances: %w", n, err)
		}
		all = append(all, one)
		f.progress("  %s", one.words())
	}
	report(out, all)
	return nil
}
