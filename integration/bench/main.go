package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/medic/cht-backup/integration/bench/page"
	"github.com/medic/cht-backup/integration/harness"
)

func main() {
	page.Main("bench", parse, bench)
}

// bench prints figures to out and progress to say.
func bench(ctx context.Context, o options, args []string, out, say io.Writer) (err error) {
	c, err := harness.Start(ctx, say, true)
	if err != nil {
		return err
	}
	if o.install {
		if err := c.InstallController(ctx); err != nil {
			return err
		}
	}
	if !o.verbose {
		c.Log = nil
	}
	pod, err := c.ControllerPod(ctx)
	if err != nil {
		return err
	}
	image := pod.Spec.Containers[0].Image
	classes, removeClasses, err := makeClasses(ctx, c, o)
	if err != nil {
		return err
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
		defer cancel()
		err = errors.Join(err, removeClasses(ctx))
	}()
	_, _ = fmt.Fprint(out, where(ctx, c, image, args, o))
	began := time.Now()
	var results []result
	for _, s := range stages(o) {
		s.c, s.o, s.image, s.classes, s.say = c, o, image, classes, say
		r, stageErr := s.run(ctx)
		results = append(results, r)
		if stageErr != nil {
			err = errors.Join(err, fmt.Errorf("%s: %w", s.title(), stageErr))
			break // what is left behind, or not to be reached, spoils the rest
		}
	}
	_, _ = fmt.Fprintf(out, "%-12s%s, load average %s\n", "took", time.Since(began).Round(time.Second), page.LoadAverage())
	report(out, o, results)
	return errors.Join(err, failed(results))
}

// stages are all CHTs that are needed.
func stages(o options) (all []*stage) {
	for _, nodes := range o.nodes {
		for _, on := range o.storages() {
			all = append(all, &stage{nodes: nodes, storage: on})
		}
	}
	return all
}

// failed is an error when a sample is: figures of a product that fails are none.
func failed(results []result) error {
	n, of := 0, 0
	for _, r := range results {
		for _, s := range r.samples {
			if of++; s.err != nil {
				n++
			}
		}
	}
	if n > 0 {
		return fmt.Errorf("%d of %d samples failed", n, of)
	}
	return nil
}
