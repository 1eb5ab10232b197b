package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/rest"
	ctrlcache "sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/integration/child"
	"github.com/medic/cht-backup/integration/harness"
	"github.com/medic/cht-backup/integration/hollow"
	"github.com/medic/cht-backup/snapshot/await"
	"github.com/medic/cht-backup/snapshot/checkup"
)

const (
	nodeName = "load"
	driver   = "load.csi.cht-backup.test"
	class    = "load"
	home     = "load-home" // the controllers' namespace, with the records
	// settleWithin bounds what has to be done before the first hour.
	settleWithin = 5 * time.Minute
)

// world is the control plane, the instances, what is played around them, and the
// controllers.
type world struct {
	o   options
	say io.Writer
	dir string // with all that is written

	c           *harness.Cluster
	client      client.WithWatch // with limits that slow nothing
	clock       *clock
	holds       *hollow.Holds
	ledger      *ledger
	kubeconfig  string // of the controllers
	controllers []*controller
	started     int
	ends        []func() // what to end, the last first
}

func (w *world) progress(format string, values ...any) {
	_, _ = fmt.Fprintf(w.say, time.Now().Format("15:04:05 ")+format+"\n", values...)
}

func (w *world) bucket() string { return filepath.Join(w.dir, "bucket") }

func instance(i int) string { return fmt.Sprintf("load-%03d", i) }

// address is that of the CouchDB pod of an instance: by pid, so that two runs on one
// machine do not meet.
func address(namespace string) string {
	i := 0
	_, _ = fmt.Sscanf(namespace, "load-%d", &i) // another's has no pod here
	return fmt.Sprintf("127.%d.%d.%d", 201+os.Getpid()>>8%50, os.Getpid()%256, i+1)
}

func (w *world) namespaces() (all []string) {
	for i := range w.o.instances {
		all = append(all, instance(i))
	}
	return all
}

// begin makes the world: in it are the instances, and two controllers that have
// nothing to do.
func (w *world) begin(ctx context.Context) (err error) {
	if w.dir, err = os.MkdirTemp("", "load-*"); err != nil {
		return err
	}
	w.ends = append(w.ends, func() { _ = os.RemoveAll(w.dir) }) // a leftover in /tmp harms nobody
	if err := os.Mkdir(w.bucket(), 0o700); err != nil {
		return err
	}
	if w.clock, err = newClock(filepath.Join(w.dir, "clock")); err != nil {
		return err
	}
	if err := w.beginPlane(ctx); err != nil {
		return err
	}
	config := rest.CopyConfig(w.c.Config)
	config.QPS, config.Burst = 1000, 1000
	if w.client, err = client.NewWithWatch(config, client.Options{Scheme: w.c.Client.Scheme()}); err != nil {
		return err
	}
	if err := w.c.InstallCRDs(ctx); err != nil {
		return err
	}
	couch, err := hollow.StartCouch(ctx, filepath.Join(w.dir, "couchdb"), each(w.namespaces(), address))
	if err != nil {
		return err
	}
	w.ends = append(w.ends, func() { _ = couch.Stop() })
	work, stop := context.WithCancel(context.WithoutCancel(ctx))
	w.ends = append(w.ends, stop)
	w.holds = &hollow.Holds{Now: w.clock.now}
	node := &hollow.Node{Client: w.client, Name: nodeName, Pods: 2 * most, Address: address, Holds: w.holds}
	if err := node.Start(ctx, work, w.c.Config); err != nil {
		return err
	}
	if err := node.Register(ctx); err != nil {
		return err
	}
	go node.Live(work)
	storage := &hollow.Storage{Client: w.client, Driver: driver, Cut: 20 * time.Millisecond, Ready: 100 * time.Millisecond, Now: w.clock.now}
	go storage.Run(work)
	if err := w.makeInstances(ctx, couch); err != nil {
		return err
	}
	w.ledger = newLedger(w.holds.Covered)
	if err := w.watch(work, config); err != nil {
		return err
	}
	if err := w.makeHome(ctx); err != nil {
		return err
	}
	w.progress("starting two controllers")
	for range 2 {
		c, err := w.start()
		if err != nil {
			return err
		}
		w.controllers = append(w.controllers, c)
	}
	w.ends = append(w.ends, func() {
		for _, c := range w.controllers {
			c.kill()
		}
	})
	if _, err = w.leader(ctx); err != nil {
		return err
	}
	return w.checkedUp(ctx)
}

// checkedUp waits for the first check-up, which is made once: what is counted from the
// first hour on shall not grow by it.
func (w *world) checkedUp(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, settleWithin)
	defer cancel()
	var reports corev1.ConfigMapList
	return await.List(ctx, w.client, &reports, func() (string, error) {
		if len(reports.Items) == 0 {
			return "the controller's first check-up", nil
		}
		return "", nil
	}, client.InNamespace(home), client.HasLabels{checkup.Label})
}

func (w *world) end() {
	for i := len(w.ends) - 1; i >= 0; i-- {
		w.ends[i]()
	}
}

// beginPlane builds what it needs and starts a control plane.
func (w *world) beginPlane(ctx context.Context) error {
	w.progress("building")
	for _, argv := range [][]string{
		{"go", "build", "-trimpath", "-tags=loadclock", "-o", filepath.Join(w.dir, "cht-backup"), "./cmd/cht-backup"},
		{"go", "build", "-C", "integration/testbed", "-trimpath", "-o", filepath.Join(w.dir, "testbed"), "./cmd/testbed"},
	} {
		cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("%s: %w\n%s", strings.Join(argv, " "), err, out)
		}
	}
	cmd := exec.Command(filepath.Join(w.dir, "testbed"), "control-plane", filepath.Join(w.dir, "plane"))
	cmd.Stderr = w.say
	in, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	plane, err := child.Start(cmd)
	if err != nil {
		return fmt.Errorf("start the control plane: %w", err)
	}
	w.ends = append(w.ends, func() {
		_ = in.Close() // its sign to end
		<-plane.Ended
	})
	lines := bufio.NewScanner(out)
	if !lines.Scan() {
		<-plane.Ended
		return fmt.Errorf("start the control plane: %w", errors.Join(plane.Err, errors.New("it ended")))
	}
	w.progress("the control plane serves")
	w.c, err = harness.Connect(lines.Text())
	return err
}

// watch has the ledger told of every Backup.
func (w *world) watch(work context.Context, config *rest.Config) error {
	cache, err := ctrlcache.New(config, ctrlcache.Options{Scheme: w.client.Scheme()})
	if err != nil {
		return err
	}
	informer, err := cache.GetInformer(work, &api.Backup{}, ctrlcache.BlockUntilSynced(false))
	if err != nil {
		return err
	}
	if _, err := informer.AddEventHandler(w.ledger); err != nil {
		return err
	}
	go func() { _ = cache.Start(work) }()
	if !cache.WaitForCacheSync(work) {
		return errors.New("watch Backups: the first list does not come")
	}
	return nil
}

func each[T, U any](all []T, of func(T) U) (got []U) {
	for _, one := range all {
		got = append(got, of(one))
	}
	return got
}
