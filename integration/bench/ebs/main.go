package main

import (
	"context"
	"fmt"
	"io"
	"os/exec"
	"strings"

	"github.com/medic/cht-backup/integration/bench/ebs/nights"
	"github.com/medic/cht-backup/integration/bench/page"
)

func main() { page.Main("ebs", parse, bench) }

// bench prints figures to out and progress to say.
func bench(ctx context.Context, o options, args []string, out, say io.Writer) error {
	page.Head(ctx, out, strings.TrimSpace("go run ./integration/bench/ebs "+strings.Join(args, " ")))
	if o.runs > 0 {
		if err := stalls(ctx, o, out, say); err != nil {
			return err
		}
	}
	if o.growth {
		for _, others := range []int{1000, 10000, 100000} {
			g := o.nights
			g.Instances, g.Nights, g.Keep, g.Lose = 20, 2, 2, 1
			g.Others = others - g.Instances*3*g.Keep - 200 // room for what is new
			_, _ = fmt.Fprintln(out)
			if err := play(ctx, g, out, say); err != nil {
				return err
			}
		}
	}
	if o.nights.Nights > 0 {
		_, _ = fmt.Fprintln(out)
		return play(ctx, o.nights, out, say)
	}
	return nil
}

// play runs the nights. Time is played by testing/synctest, which only a test can use.
func play(ctx context.Context, o nights.Options, out, say io.Writer) error {
	c := exec.CommandContext(ctx, "go", append([]string{"test", "-v", "-count=1", "-timeout=0", "-run=^TestNights$", "./integration/bench/ebs/nights", "-args", "-whole"}, o.Flags()...)...)
	c.Stdout, c.Stderr = out, say
	if err := c.Run(); err != nil {
		return fmt.Errorf("play the nights: %w", err)
	}
	return nil
}
