package main

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	"sigs.k8s.io/controller-runtime/pkg/client"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/integration/account"
	"github.com/medic/cht-backup/integration/cht"
	"github.com/medic/cht-backup/integration/cht/couch"
	"github.com/medic/cht-backup/integration/harness"
	"github.com/medic/cht-backup/integration/relay"
)

const (
	// mark is a label of all that this program makes, with the world's name; the next run
	// removes what has it.
	mark = "cht-backup.test/crash"
	// stall is the bound of a freeze, slack what a busy machine may add to it.
	stall = 8 * time.Second
	slack = 4 * time.Second
	// nodes of CouchDB.
	nodes = 2
)

// world is one instance with a controller of its own, in which trials follow each other.
type world struct {
	c    *harness.Cluster
	name string
	dir  string
	root string // of the source
	o    cht.Options
	home string // the controller's namespace

	script *script
	kube   *proxy
	bucket *proxy
	store  *store
	config string // the controller's kubeconfig
	ctl    *controller
	writer *writer
	cut    map[string]span // by backup
	busy   chan struct{}   // taken by who breaks the node
	ctx    context.Context
}

// span is how many documents a backup has, at least and at most.
type span struct{ least, most int }

// begin makes the instance, and the two backups that trials restore.
func (w *world) begin(ctx context.Context) error {
	w.ctx, w.cut = ctx, map[string]span{}
	w.o = cht.Defaults(w.name, w.c.CHTImages())
	w.o.Nodes, w.o.Components, w.home = nodes, cht.Components{}, w.name+"-home"
	w.script = &script{strike: w.strike}
	w.store = &store{objects: map[string]object{}}
	for _, name := range []string{w.name, w.home} {
		if err := w.makeNamespace(ctx, name); err != nil {
			return err
		}
	}
	token, err := w.account(ctx)
	if err != nil {
		return err
	}
	to, err := relay.To(w.c.Config, func() string { return token })
	if err != nil {
		return err
	}
	if w.kube, err = listen(w.script, narrow{w.name, to}, nameKube); err != nil {
		return err
	}
	if w.bucket, err = listen(w.script, w.store, nameBucket); err != nil {
		return err
	}
	if err := w.writeConfig(token); err != nil {
		return err
	}
	if err := w.c.Deploy(ctx, w.o); err != nil {
		return err
	}
	if err := w.connect(ctx); err != nil {
		return err
	}
	if err := until(ctx, time.Minute, func(ctx context.Context) error { return w.writer.couch.CreateDB(ctx, database) }); err != nil {
		return fmt.Errorf("make the database in %s: %w", w.name, err)
	}
	w.writer.start(ctx, 0)
	w.start()
	for name, op := range map[string]string{"base": opBackup, "files": opFiles} {
		if _, err := w.good(ctx, name, op); err != nil {
			return err
		}
	}
	return nil
}

// connect has the writer speak to the first node by its Service.
func (w *world) connect(ctx context.Context) error {
	var s corev1.Service
	if err := w.c.Client.Get(ctx, client.ObjectKey{Namespace: w.name, Name: w.o.Services()[0]}, &s); err != nil {
		return err
	}
	w.writer = newWriter("http://"+s.Spec.ClusterIP+":5984", w.o.User, w.o.Password)
	return nil
}

func (w *world) makeNamespace(ctx context.Context, name string) error {
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{mark: w.name, "pod-security.kubernetes.io/enforce": "privileged"}}}
	if err := w.c.Client.Create(ctx, ns); err != nil {
		return fmt.Errorf("create namespace %s: %w", name, err)
	}
	return until(ctx, time.Minute, func(ctx context.Context) error {
		return w.c.Client.Get(ctx, client.ObjectKey{Namespace: name, Name: "default"}, &corev1.ServiceAccount{})
	})
}

// account makes what the chart gives a controller, and a token of it.
func (w *world) account(ctx context.Context) (string, error) {
	a := account.Account{Chart: filepath.Join(w.root, "charts/cht-backup"), Name: w.name, Namespace: w.home, Labels: map[string]string{mark: "true"}}
	return a.Make(ctx, w.c.Client, func(ctx context.Context, o client.Object) error { return w.c.Client.Create(ctx, o) })
}

func (w *world) writeConfig(token string) error {
	w.config = filepath.Join(w.dir, "kubeconfig")
	return account.Kubeconfig(w.config, clientcmdapi.Cluster{Server: w.kube.url}, token)
}

// start starts the controller.
func (w *world) start() {
	catalog := "s3://crash?region=us-east-1&use_path_style=true&endpoint=" + url.QueryEscape(w.bucket.url)
	w.ctl = &controller{log: filepath.Join(w.dir, "controller.log"),
		argv: []string{filepath.Join(filepath.Dir(w.dir), "cht-backup"), "controller", "--namespace=" + w.home, "--image=" + w.c.Images.Controller,
			"--metrics-address=0", "--health-address=0", "--leader-election=false", "--catalog-url=" + catalog, "--catalog-sync-interval=0", "--cluster-name=crash"},
		env: append(os.Environ(), "KUBECONFIG="+w.config, "AWS_ACCESS_KEY_ID=test", "AWS_SECRET_ACCESS_KEY=test", "AWS_EC2_METADATA_DISABLED=true",
			"AWS_REQUEST_CHECKSUM_CALCULATION=when_required", "AWS_RESPONSE_CHECKSUM_VALIDATION=when_required"),
	}
	w.ctl.start()
}

// end deletes the backups, and fails if that does not end or the controller ended badly.
// What is there else goes with sweep.
func (w *world) end(ctx context.Context) error {
	var backups api.BackupList
	err := w.c.Client.List(ctx, &backups, client.InNamespace(w.name))
	for i := range backups.Items {
		err = errors.Join(err, w.discard(ctx, &backups.Items[i]))
	}
	if err == nil {
		err = w.orphans(ctx)
	}
	return errors.Join(err, w.close())
}

// close ends the processes.
func (w *world) close() (err error) {
	if w.writer != nil {
		w.writer.stop()
	}
	if w.ctl != nil {
		for _, text := range w.ctl.stop() {
			err = errors.Join(err, errors.New(text))
		}
	}
	for _, p := range []*proxy{w.kube, w.bucket} {
		if p != nil {
			_ = p.serve.Close()
		}
	}
	return err
}

// until tries something again until it works, or the time is over.
func until(ctx context.Context, within time.Duration, try func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	for {
		err := try(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("not after %s: %w", within, err)
		case <-time.After(150 * time.Millisecond):
		}
	}
}

// couchOf is the first node of a copy.
func (w *world) couchOf(ctx context.Context, namespace string) (*couch.Client, error) {
	var pods corev1.PodList
	if err := w.c.Client.List(ctx, &pods, client.InNamespace(namespace), client.MatchingLabels{cht.Label: w.o.Services()[0]}); err != nil {
		return nil, err
	}
	for _, p := range pods.Items {
		if p.DeletionTimestamp == nil && p.Status.PodIP != "" {
			return couch.New("http://"+p.Status.PodIP+":5984", w.o.User, w.o.Password, couch.Transport(1)), nil
		}
	}
	return nil, fmt.Errorf("no pod of %s runs in %s", w.o.Services()[0], namespace)
}
