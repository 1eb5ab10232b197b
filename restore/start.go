package restore

import (
	"context"
	"fmt"
	"net"
	"strconv"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/snapshot/await"
	"github.com/medic/cht-backup/snapshot/cht"
)

// inward are the components that talk to nobody outside the namespace.
var inward = map[string]bool{"haproxy": true, "healthcheck": true}

// start brings up the components that use CouchDB. Live: all, with the
// isolation lifted and the ingress made. A clone: never Sentinel; the API and
// all others only where the isolation is proven, since the API itself sends
// messages through the configured SMS service.
func (r *Reconciler) start(ctx context.Context, w *work) error {
	return oneTurn(ctx, func(ctx context.Context) error { return r.startOnce(ctx, w) })
}

func (r *Reconciler) startOnce(ctx context.Context, w *work) error {
	restore, objects := w.restore, w.target
	if restore.Spec.GoLive {
		policy := &networkingv1.NetworkPolicy{ObjectMeta: metav1.ObjectMeta{Namespace: restore.Namespace, Name: isolationName}}
		if err := r.Client.Delete(ctx, policy); client.IgnoreNotFound(err) != nil {
			return fmt.Errorf("lift the isolation: %w", err)
		}
		if err := r.scale(ctx, objects, func(c string) bool { return !cht.IsCouchDB(c) }, true); err != nil {
			return err
		}
		if err := r.applyObjects(ctx, restore, objects, true); err != nil {
			return err
		}
		return r.available(ctx, w)
	}
	isolated, err := r.isolated(ctx, restore)
	if err != nil {
		return err
	}
	restore.Status.Notes = append(restore.Status.Notes, cloneNote(restore))
	if !isolated {
		restore.Status.Notes = append(restore.Status.Notes,
			"this cluster's network plugin does not enforce NetworkPolicies: a probe pod reached the Kubernetes API from the clone. The CHT API, which sends messages itself, and everything else that could reach out stays at 0")
	}
	err = r.scale(ctx, objects, func(c string) bool {
		return inward[c] || isolated && !cht.IsCouchDB(c) && c != "sentinel"
	}, true)
	if err != nil {
		return err
	}
	if err := r.openIngress(ctx, w); err != nil {
		return err
	}
	return r.available(ctx, w)
}

// isolated runs a pod that tries to leave the namespace.
func (r *Reconciler) isolated(ctx context.Context, restore *api.Restore) (bool, error) {
	inventory, err := cht.Load(ctx, r.Client, restore.Namespace)
	if err != nil {
		return false, err
	}
	instance, err := cht.Discover(inventory)
	if err != nil {
		return false, notYet{err}
	}
	probe := probePod(restore, r.Image, net.JoinHostPort(instance.Nodes[0].Pod.IP, strconv.Itoa(cht.Port)))
	if err := r.create(ctx, restore, probe); err != nil {
		return false, err
	}
	isolated := false
	var pods corev1.PodList
	err = await.List(ctx, r.Client, &pods, func() (string, error) {
		for _, pod := range pods.Items {
			switch pod.Status.Phase {
			case corev1.PodSucceeded:
				isolated = true
				return "", nil
			case corev1.PodFailed:
				return "", nil // not proven is not isolated
			}
		}
		return "the isolation probe", nil
	}, client.InNamespace(restore.Namespace), client.MatchingLabels{api.RestoreUIDLabel: string(restore.UID), api.RoleLabel: roleProbe})
	if err != nil {
		return false, err
	}
	if err := r.Client.Delete(ctx, probe); client.IgnoreNotFound(err) != nil {
		return false, fmt.Errorf("delete the isolation probe: %w", err)
	}
	return isolated, nil
}

// available waits until every Deployment of the restore has its replicas ready.
func (r *Reconciler) available(ctx context.Context, w *work) error {
	mine := map[string]bool{}
	for _, o := range w.target {
		mine[o.GetName()] = mine[o.GetName()] || o.GetKind() == "Deployment"
	}
	var deployments appsv1.DeploymentList
	return await.List(ctx, r.Client, &deployments, func() (string, error) {
		for _, d := range deployments.Items {
			if mine[d.Name] && d.Spec.Replicas != nil && (d.Status.ObservedGeneration < d.Generation || d.Status.ReadyReplicas < *d.Spec.Replicas) {
				return fmt.Sprintf("deployment %s (%d of %d ready)", d.Name, d.Status.ReadyReplicas, *d.Spec.Replicas), nil
			}
		}
		return "", nil
	}, client.InNamespace(w.restore.Namespace))
}
