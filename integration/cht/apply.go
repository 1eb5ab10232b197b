package cht

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/medic/cht-backup/integration/cht/couch"
	"github.com/medic/cht-backup/snapshot/await"
)

// Apply creates what is not there yet. What is there it leaves alone, so that a
// test may run it twice and never undoes what a restore made.
func Apply(ctx context.Context, c client.Client, objects []client.Object) error {
	for _, o := range objects {
		if err := c.Create(ctx, o); err != nil && !apierrors.IsAlreadyExists(err) {
			return fmt.Errorf("create %T %s/%s: %w", o, o.GetNamespace(), o.GetName(), err)
		}
	}
	return nil
}

// WaitRolledOut waits until every Deployment of the namespace that wants pods has
// them, new and available.
func WaitRolledOut(ctx context.Context, c client.WithWatch, namespace string) error {
	var list appsv1.DeploymentList
	return await.List(ctx, c, &list, func() (string, error) {
		for i := range list.Items {
			d := &list.Items[i]
			wanted := int32(1)
			if d.Spec.Replicas != nil {
				wanted = *d.Spec.Replicas
			}
			if d.Status.ObservedGeneration < d.Generation || d.Status.UpdatedReplicas < wanted || d.Status.AvailableReplicas < wanted {
				return fmt.Sprintf("deployment %s/%s (%d of %d pods available)", d.Namespace, d.Name, d.Status.AvailableReplicas, wanted), nil
			}
		}
		return "", nil
	}, client.InNamespace(namespace))
}

// WaitReady waits until the pods run, CouchDB's nodes have set up their cluster,
// and, where there is an HAProxy, it lets requests through. transport must reach
// the cluster's host names.
func WaitReady(ctx context.Context, c client.WithWatch, o Options, transport http.RoundTripper) error {
	if err := WaitRolledOut(ctx, c, o.Namespace); err != nil {
		return err
	}
	for i, server := range o.Servers() {
		node := couch.New("http://"+server+":5984", o.User, o.Password, transport)
		if err := again(ctx, func() error { return inCluster(ctx, node, o.ErlangNames()) }); err != nil {
			return fmt.Errorf("%s: %w", o.Services()[i], err)
		}
	}
	if !o.Components.HAProxy {
		return nil
	}
	proxy := couch.New("http://"+o.host("haproxy")+":5984", o.User, o.Password, transport)
	if err := again(ctx, func() error { return proxy.Get(ctx, "/_users", nil) }); err != nil {
		return fmt.Errorf("haproxy in %s: %w", o.Namespace, err)
	}
	return nil
}

func inCluster(ctx context.Context, node *couch.Client, names []string) error {
	var m struct {
		All     []string `json:"all_nodes"`
		Cluster []string `json:"cluster_nodes"`
	}
	if err := node.Get(ctx, "/_membership", &m); err != nil {
		return err
	}
	if !couch.SameSet(m.All, names) || !couch.SameSet(m.Cluster, names) {
		return fmt.Errorf("members are %v of %v, wanted %v", m.All, m.Cluster, names)
	}
	return node.Get(ctx, "/_users", nil)
}

// again asks until it works: CouchDB tells nobody when its cluster is set up.
func again(ctx context.Context, try func() error) error {
	for {
		err := try()
		if err == nil {
			return nil
		}
		if ctx.Err() == nil {
			select {
			case <-ctx.Done():
			case <-time.After(250 * time.Millisecond):
				continue
			}
		}
		return errors.Join(context.Cause(ctx), err)
	}
}
