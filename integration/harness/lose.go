package harness

import (
	"context"
	"fmt"

	appsv1 "k8s.io/api/apps/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/medic/cht-backup/snapshot/await"
)

// Lose destroys the testbed's cluster with its etcd, its certificates and its images,
// and makes another in its place, into which the same images are loaded. What the
// second has of the first is the storage behind its CSI drivers. The clients are those
// of the new cluster from then on; the product is not installed in it.
func (c *Cluster) Lose(ctx context.Context) error {
	if _, err := c.Testbed(ctx, "lose"); err != nil {
		return fmt.Errorf("destroy the cluster: %w", err)
	}
	return c.again(ctx)
}

// again makes the cluster after it was lost.
func (c *Cluster) again(ctx context.Context) error {
	if err := c.up(ctx); err != nil {
		return err
	}
	if err := c.connect(); err != nil {
		return err
	}
	return c.load(ctx, c.built)
}

// Again makes sure that there is a cluster with the product as the other tests know
// it, whatever a test that loses clusters left.
func (c *Cluster) Again(ctx context.Context) error {
	c.Controller = nil
	if err := c.again(ctx); err != nil {
		return err
	}
	// One that was installed with other values may have a strategy that cannot be changed
	// to the usual one by applying it.
	d := &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Namespace: ControllerNamespace, Name: ControllerName}}
	if err := c.Client.Delete(ctx, d, client.PropagationPolicy(metav1.DeletePropagationForeground)); client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("delete the controller: %w", err)
	}
	var left appsv1.DeploymentList
	if err := await.List(ctx, c.Client, &left, func() (string, error) {
		if len(left.Items) > 0 {
			return "the end of the controller", nil
		}
		return "", nil
	}, client.InNamespace(ControllerNamespace), client.MatchingFields{"metadata.name": ControllerName}); err != nil {
		return err
	}
	return c.InstallController(ctx)
}
