package restore

import (
	"context"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/snapshot/await"
	"github.com/medic/cht-backup/snapshot/cht"
	"github.com/medic/cht-backup/snapshot/couchdb"
	"github.com/medic/cht-backup/snapshot/reason"
)

// live gives clients of the CouchDB nodes that run in a namespace, or refuses with
// what discovery says.
func (r *Reconciler) live(ctx context.Context, namespace string) ([]*couchdb.Client, error) {
	inventory, err := cht.Load(ctx, r.Client, namespace)
	if err != nil {
		return nil, err
	}
	instance, err := cht.Discover(inventory)
	if err != nil {
		return nil, err
	}
	var clients []*couchdb.Client
	for _, node := range instance.Nodes {
		clients = append(clients, couchdb.New(node.Pod.URL(), instance.User, instance.Password, r.Transport))
	}
	return clients, nil
}

// liveSoon waits for nodes that are not ready: a pod may be on its way from one
// machine to another.
func (r *Reconciler) liveSoon(ctx context.Context, namespace string) (clients []*couchdb.Client, err error) {
	err = oneTurn(ctx, func(ctx context.Context) error {
		var pods corev1.PodList
		return await.List(ctx, r.Client, &pods, func() (string, error) {
			clients, err = r.live(ctx, namespace)
			if e := reason.Of(err); e != nil && e.Reason == api.ReasonPodNotReady {
				return e.Error(), nil
			}
			return "", err
		}, client.InNamespace(namespace), client.HasLabels{cht.ServiceLabel})
	})
	return clients, err
}
