package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"golang.org/x/sync/errgroup"
	appsv1 "k8s.io/api/apps/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/medic/cht-backup/integration/cht"
	"github.com/medic/cht-backup/integration/harness"
	"github.com/medic/cht-backup/integration/hollow"
)

// workers of this program at a time.
const workers = 16

// fleet is the instances and all that is simulated around them.
type fleet struct {
	c   *harness.Cluster
	o   options
	out io.Writer // figures
	say io.Writer // progress

	client client.WithWatch // with limits that do not slow the simulated parts
	// of CouchDB, in every instance
	user, password string
	// kubeconfig of the controller, "" while it has none.
	kubeconfig string
	holds      *hollow.Holds
	began      bool // something may have been made
	binary     binary
	calls      *calls         // nil: not counted
	ends       []func() error // what to end, the last first
}

func (f *fleet) progress(format string, values ...any) {
	_, _ = fmt.Fprintf(f.say, time.Now().Format("15:04:05 ")+format+"\n", values...)
}

// begin makes the world: in it are the instances, and nothing is due yet.
func (f *fleet) begin(ctx context.Context) (err error) {
	config := rest.CopyConfig(f.c.Config)
	config.QPS, config.Burst = 1000, 1000
	if f.client, err = client.NewWithWatch(config, client.Options{Scheme: f.c.Client.Scheme()}); err != nil {
		return err
	}
	if err := f.c.InstallCRDs(ctx); err != nil {
		return err
	}
	if err := f.pauseInstalled(ctx); err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "bench-fleet-*")
	if err != nil {
		return err
	}
	f.ends = append(f.ends, func() error { return os.RemoveAll(dir) })
	f.progress("building the controller")
	if f.binary, err = build(ctx, dir); err != nil {
		return err
	}
	if f.o.calls {
		if f.calls, err = countCalls(f.c.Config); err != nil {
			return err
		}
		f.ends = append(f.ends, f.calls.l.Close)
	}
	if err := f.startCouch(ctx, dir); err != nil {
		return err
	}
	work, stop := context.WithCancel(context.WithoutCancel(ctx))
	f.holds = &hollow.Holds{}
	node, storage := f.node(), &hollow.Storage{Client: f.client, Driver: driver, Cut: f.o.cut, Ready: f.o.ready}
	f.began = true
	f.ends = append(f.ends, func() error { stop(); return node.Close() })
	// From here on there may be something of an earlier run, which goes first.
	if err := node.Start(ctx, work, f.c.Config); err != nil {
		return err
	}
	go storage.Run(work)
	if err := f.sweep(ctx); err != nil {
		return fmt.Errorf("remove what an earlier run left: %w", err)
	}
	if err := node.Register(ctx); err != nil {
		return err
	}
	go node.Live(work)
	if err := f.makeHome(ctx, dir); err != nil {
		return err
	}
	return f.makeInstances(ctx)
}

const (
	// nodeName is that of the node that is this program.
	nodeName = "fleet"
	// nodeTaint keeps all other pods away from it.
	nodeTaint = "cht-backup.test/fleet"
)

func (f *fleet) node() *hollow.Node {
	return &hollow.Node{Client: f.client, Name: nodeName, Taint: nodeTaint, Labels: map[string]string{mark: "node"}, Pods: 2 * most, Address: address, Holds: f.holds}
}

// end takes all away again.
func (f *fleet) end(ctx context.Context) (err error) {
	if f.began {
		f.progress("removing everything")
		err = f.sweep(ctx)
	}
	for i := len(f.ends) - 1; i >= 0; i-- {
		err = errors.Join(err, f.ends[i]())
	}
	return err
}

// pauseInstalled stops the controller that tests have installed: it would take the
// backups as its own.
func (f *fleet) pauseInstalled(ctx context.Context) error {
	var d appsv1.Deployment
	key := client.ObjectKey{Namespace: harness.ControllerNamespace, Name: harness.ControllerName}
	if err := f.client.Get(ctx, key, &d); err != nil {
		return client.IgnoreNotFound(err)
	}
	if d.Spec.Replicas == nil || *d.Spec.Replicas == 0 {
		return nil
	}
	was := *d.Spec.Replicas
	scale := func(ctx context.Context, to int32) error {
		patch := client.RawPatch(types.MergePatchType, fmt.Appendf(nil, `{"spec":{"replicas":%d}}`, to))
		if err := f.client.Patch(ctx, d.DeepCopy(), patch); err != nil {
			return fmt.Errorf("scale deployment %s to %d: %w", key, to, err)
		}
		return cht.WaitRolledOut(ctx, f.client, key.Namespace)
	}
	f.ends = append(f.ends, func() error {
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
		defer cancel()
		return scale(ctx, was)
	})
	if err := scale(ctx, 0); err != nil {
		return err
	}
	return f.gone(ctx, "the pods of the installed controller", func() (int, error) { return f.pods(ctx, key.Namespace) })
}

// all does something for each number below n, several at a time.
func all(ctx context.Context, n int, do func(ctx context.Context, i int) error) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(workers)
	for i := range n {
		group.Go(func() error { return do(ctx, i) })
	}
	return group.Wait()
}

// gone waits until nothing is left of something.
func (f *fleet) gone(ctx context.Context, what string, count func() (int, error)) error {
	for said := time.Now(); ; {
		left, err := count()
		if err != nil {
			return err
		}
		if left == 0 {
			return nil
		}
		if time.Since(said) > 15*time.Second {
			f.progress("  waiting for %s: %d left", what, left)
			said = time.Now()
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("waiting for %s, %d left: %w", what, left, context.Cause(ctx))
		case <-time.After(500 * time.Millisecond):
		}
	}
}
