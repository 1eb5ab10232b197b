package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/integration/cht"
)

const (
	releaseName = "cht"
	firstBackup = "first"
	helmWithin  = 8 * time.Minute
)

// system is where the chart puts the controller of the run's CHT, and its records.
func (r *run) system() string { return r.source.Namespace + "-backup" }

// values are the chart's: what the README's command takes from a values file.
func (r *run) values() map[string]any {
	return r.c.CHTValues(map[string]any{
		"platform":    "other", // which takes the cluster's default storage class
		"couchdb":     map[string]any{"nodes": r.cfg.nodes, "storage": map[string]any{"size": r.source.Size.String()}},
		"nouveau":     map[string]any{"enabled": false},
		"credentials": map[string]any{"user": r.source.User, "password": r.source.Password},
		"ingress":     map[string]any{"type": "ingress", "host": r.source.IngressHost},
		// The controller may work in the namespace that the copy will be in, too.
		"cht-backup": map[string]any{"namespaces": []any{r.source.Namespace, r.target.Namespace}},
	})
}

// install brings the whole stack up by its chart and takes the first backup of it, as
// somebody does who begins.
func (r *run) install(ctx context.Context) error {
	nodes := fmt.Sprintf("CouchDB on %d nodes", r.cfg.nodes)
	if r.cfg.nodes == 1 {
		nodes = "CouchDB on one node"
	}
	r.s.numbered("A CHT is installed, with its backups", nodes+", HAProxy, API, Sentinel and ingress; a controller, and a schedule for every night. Each document lies on one node only.")
	start := time.Now()
	r.s.command(fmt.Sprintf("helm install %s charts/cht -n %s --create-namespace --wait -f values.yaml", releaseName, r.source.Namespace))
	within, cancel := context.WithTimeoutCause(ctx, helmWithin, errors.New("the chart's objects were not ready in "+helmWithin.String()))
	defer cancel()
	if _, err := r.c.Helm(r.source.Namespace).Install(within, releaseName, r.c.ChartFolder("cht"), r.values()); err != nil {
		return err
	}
	if err := cht.WaitReady(within, r.c.Client, r.source, r.c.Transport()); err != nil {
		return fmt.Errorf("wait for the CHT in %s: %w", r.source.Namespace, err)
	}
	r.s.good("it runs in namespace %s, its controller in %s%s", r.source.Namespace, r.system(), took(start))
	disarm, err := guard(ctx, r.c)
	if err != nil {
		return err
	}
	defer disarm()
	if err := r.kubectl.run(ctx, "backup", firstBackup, "-n", r.source.Namespace); err != nil {
		return err
	}
	var b api.Backup
	if err := r.c.Client.Get(ctx, client.ObjectKey{Namespace: r.source.Namespace, Name: firstBackup}, &b); err != nil {
		return fmt.Errorf("read the first backup: %w", err)
	}
	if b.Status.Phase != api.PhaseCompleted || b.Status.Consistency != api.Consistent {
		return fmt.Errorf("the first backup is %s, %s", b.Status.Phase, b.Status.Consistency)
	}
	r.res.first = time.Since(start)
	r.s.good("from `helm install` to the first good backup: %s", short(r.res.first))
	return nil
}

// uninstall removes what the chart made outside of the CHT's namespace, which took
// Helm's own notes of the release along.
func (r *run) uninstall(ctx context.Context) error {
	err := r.c.DeleteNamespace(ctx, r.system())
	for _, list := range []client.ObjectList{&rbacv1.ClusterRoleBindingList{}, &rbacv1.ClusterRoleList{}} {
		err = errors.Join(err, r.dropGlobal(ctx, list))
	}
	return err
}

// dropGlobal deletes the release's objects of one kind that is in no namespace.
func (r *run) dropGlobal(ctx context.Context, list client.ObjectList) error {
	if err := r.c.Client.List(ctx, list, client.HasLabels{"app.kubernetes.io/instance"}); err != nil {
		return fmt.Errorf("list what the chart made: %w", err)
	}
	return meta.EachListItem(list, func(item runtime.Object) error {
		o, ok := item.(client.Object)
		if !ok {
			return fmt.Errorf("a list of %T", item)
		}
		if a := o.GetAnnotations(); a["meta.helm.sh/release-name"] != releaseName || a["meta.helm.sh/release-namespace"] != r.source.Namespace {
			return nil
		}
		if err := r.c.Client.Delete(ctx, o); client.IgnoreNotFound(err) != nil {
			return fmt.Errorf("delete %T %s: %w", o, o.GetName(), err)
		}
		return nil
	})
}
