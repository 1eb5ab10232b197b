package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"syscall"
	"time"

	"k8s.io/apimachinery/pkg/util/rand"

	api "github.com/medic/cht-backup/api/v1alpha1"
	chtdeploy "github.com/medic/cht-backup/integration/cht"
	"github.com/medic/cht-backup/integration/harness"
)

const (
	deployWithin = 10 * time.Minute
	removeWithin = 5 * time.Minute
)

// stage is one CHT, on which everything is measured in turn.
type stage struct {
	c         *harness.Cluster
	o         options
	nodes     int
	storage   storage
	namespace string
	deployed  chtdeploy.Options
	image     string             // of the controller, whose freezers the series uses
	classes   map[string]*string // by driver setting
	say       io.Writer
}

// result is what a stage found.
type result struct {
	nodes   int
	class   string // of its volumes, "" for the cluster's default
	samples []sample
	idle    *usage // nil where the controller was replaced meanwhile
	// quiet are latencies of writes that touch no sample, in milliseconds.
	quiet         []float64
	quietFailed   int
	sent, skipped int64 // by the writer; skipped: due while all its requests waited
}

// run deploys a CHT, writes to it, takes all samples and removes it. It returns
// what it has also with an error.
func (s *stage) run(ctx context.Context) (r result, err error) {
	r.nodes, r.class = s.nodes, s.storage.class
	s.namespace = fmt.Sprintf("bench-%d-%s", s.nodes, rand.String(5))
	s.sayf("%s: deploy a CHT in namespace %s", s.title(), s.namespace)
	defer func() { err = errors.Join(err, s.remove(ctx)) }()
	if err := s.deploy(ctx); err != nil {
		return r, err
	}
	if r.idle, err = s.watchIdle(ctx); err != nil {
		return r, err
	}
	writer, err := s.c.StartLoad(ctx, s.namespace, "writer", "--rate", fmt.Sprint(s.o.rate), "--workers", strconv.Itoa(s.o.workers))
	if err != nil {
		return r, err
	}
	r.samples = s.rounds(ctx)
	// A request to a pod that was stopped goes on for more than a minute.
	stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), 3*time.Minute)
	defer cancel()
	sum, err := writer.Stop(stop)
	writes := writer.Writes()
	for i := range r.samples {
		r.samples[i].seen = see(r.samples[i], writes)
	}
	r.quiet, r.quietFailed = between(r.samples, writes)
	r.sent, r.skipped = sum.Sent, sum.Skipped
	return r, errors.Join(err, ctx.Err())
}

func (s *stage) title() string {
	if s.storage.class == "" {
		return fmt.Sprintf("%d nodes", s.nodes)
	}
	return fmt.Sprintf("%d nodes on %s", s.nodes, s.storage.class)
}

func (s *stage) deploy(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, deployWithin, errors.New("it was not up after "+deployWithin.String()))
	defer cancel()
	if err := s.c.CreateNamespace(ctx, s.namespace); err != nil {
		return err
	}
	o := chtdeploy.Defaults(s.namespace, s.c.CHTImages())
	o.Nodes, o.StorageClass, o.Components = s.nodes, s.storage.class, chtdeploy.Components{HAProxy: true, Healthcheck: true}
	s.deployed = o
	if err := s.c.Deploy(ctx, o); err != nil {
		return err
	}
	return s.c.Seed(ctx, s.namespace, "--docs", strconv.Itoa(s.o.docs), "--users", strconv.Itoa(s.o.users))
}

// watchIdle measures what the controller does when there is nothing to do.
func (s *stage) watchIdle(ctx context.Context) (*usage, error) {
	before, err := read(ctx, s.c)
	if err != nil {
		return nil, err
	}
	select {
	case <-time.After(s.o.idle): // the passing of time is what is measured
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	after, err := read(ctx, s.c)
	if err != nil {
		return nil, err
	}
	return after.since(before), nil
}

// rounds takes all samples, each kind once a round. Those that stop the CHT come after
// all others: a request that waits for a pod that has gone waits for a minute, and would
// be seen in the sample after it.
func (s *stage) rounds(ctx context.Context) []sample {
	var kinds, stops []sample
	for _, driver := range s.storage.drivers {
		for _, way := range s.o.ways(driver) {
			one := sample{nodes: s.nodes, driver: driver, way: way}
			if way == wayStop {
				stops = append(stops, one)
				continue
			}
			kinds = append(kinds, one)
		}
	}
	return append(s.turns(ctx, kinds), s.turns(ctx, stops)...)
}

func (s *stage) turns(ctx context.Context, kinds []sample) []sample {
	var all []sample
	for round := range s.o.backups {
		for _, one := range turn(kinds, round) {
			one.err = s.guarded(ctx, &one)
			if ctx.Err() != nil {
				return all
			}
			if one.done.IsZero() {
				one.done = time.Now()
			}
			all = append(all, one)
			s.progress(round, one)
		}
	}
	return all
}

// guarded takes one sample. Where file systems are frozen, a thaw from outside is
// armed first, which comes whatever becomes of this process.
func (s *stage) guarded(ctx context.Context, one *sample) error {
	take := s.product
	switch one.way {
	case waySeries:
		take = s.series
	case wayStop:
		take = s.stopped
	}
	if !s.c.Local || one.way != waySeries && one.way != string(api.QuiesceFreeze) {
		return take(ctx, one)
	}
	after := backupWithin + time.Duration(s.nodes)*s.o.maxStall // later than any freeze
	out, err := s.c.Testbed(ctx, "arm-thaw", after.String())
	if err != nil {
		return fmt.Errorf("arm a thaw: %w", err)
	}
	pid, err := strconv.Atoi(out)
	if err != nil || pid <= 1 {
		return fmt.Errorf("arm a thaw: no process %q", out)
	}
	armed := time.Now()
	err = take(ctx, one)
	if time.Since(armed) >= after-time.Second {
		return errors.Join(err, errors.New("the thaw from outside fired")) // its pid may be another's by now
	}
	if killErr := syscall.Kill(pid, syscall.SIGKILL); killErr != nil {
		err = errors.Join(err, fmt.Errorf("disarm the thaw %d: %w", pid, killErr))
	}
	return err
}

func (s *stage) progress(round int, one sample) {
	if one.err != nil {
		s.sayf("%s, round %d of %d, %s, %s: %v", s.title(), round+1, s.o.backups, one.driver, one.way, one.err)
		return
	}
	s.sayf("%s, round %d of %d, %s, %s: %s ms (in all %s)", s.title(), round+1, s.o.backups, one.driver, one.way,
		millis(inMillis(one.stall())), one.done.Sub(one.began).Round(100*time.Millisecond))
}

// remove takes the namespace away: backups first, for those that are there when
// their namespace goes keep their snapshots.
func (s *stage) remove(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(context.WithoutCancel(ctx), removeWithin, errors.New("it did not go in "+removeWithin.String()))
	defer cancel()
	var left api.BackupList
	err := s.c.Client.List(ctx, &left, inNamespace(s.namespace))
	for i := range left.Items {
		err = errors.Join(err, removeBackup(ctx, s.c, &left.Items[i]))
	}
	if err = errors.Join(err, s.c.DeleteNamespace(ctx, s.namespace), s.removeKeys(ctx)); err != nil {
		return err
	}
	found, err := s.leftovers(ctx)
	if len(found) > 0 {
		err = errors.Join(err, fmt.Errorf("left behind: %v", found))
	}
	return err
}

func (s *stage) sayf(format string, args ...any) {
	_, _ = fmt.Fprintf(s.say, time.Now().Format("15:04:05 ")+format+"\n", args...) // there is nowhere to say that it failed
}
