package restore

import (
	"context"
	"fmt"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/snapshot/await"
	"github.com/medic/cht-backup/snapshot/cht"
)

// start brings up the components that use CouchDB. Live: all, with the
// isolation lifted and the ingress made. A clone: never Sentinel; the API and
// all others only where the isolation is proven, since the API itself sends
// messages through the configured SMS service.
func (r *Reconciler) start(ctx context.Context, w *work) error {
	return oneTurn(ctx, func(ctx context.Context) error {
		if w.restore.Spec.GoLive {
			return r.startLive(ctx, w)
		}
		return r.startClone(ctx, w)
	})
}

func (r *Reconciler) startLive(ctx context.Context, w *work) error {
	restore, objects := w.restore, w.target
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

// startClone brings the inward components up whatever the proof says, the others
// only by it.
func (r *Reconciler) startClone(ctx context.Context, w *work) error {
	if err := r.proveIsolation(ctx, w); err != nil {
		return err
	}
	note(w.restore, cloneNote(w.restore))
	up, held := w.parted(w.restore.Status.Isolation.Result == api.IsolationEnforced)
	for _, text := range heldNotes(w.restore.Status.Isolation, held) {
		note(w.restore, text)
	}
	for _, o := range up {
		if err := r.scaleTo(ctx, o, heldAt(o)); err != nil {
			return err
		}
	}
	if err := r.openIngress(ctx, w); err != nil {
		return err
	}
	return r.available(ctx, w)
}

// parted tells the workloads that a clone brings up from those that stay at 0,
// these with the reason; "" is that the clone is not closed in.
func (w *work) parted(enforced bool) (up []*unstructured.Unstructured, held map[string]string) {
	held = map[string]string{}
	probed := 0
	for _, o := range w.target {
		if !w.rises(o) {
			continue
		}
		why := uncontained(o)
		if why == "" {
			if probed++; probed > mostProbes {
				why = fmt.Sprintf("no more than %d workloads are probed", mostProbes)
			}
		}
		switch {
		case inward[component(o)], enforced && why == "":
			up = append(up, o)
		default:
			held[o.GetName()] = why
		}
	}
	return up, held
}

func heldNotes(isolation *api.Isolation, held map[string]string) []string {
	var notes, open []string
	for _, name := range sortedKeys(held) {
		if held[name] == "" {
			open = append(open, name)
		} else {
			notes = append(notes, fmt.Sprintf("%s stays at 0: %s", name, held[name]))
		}
	}
	if isolation.Result == api.IsolationEnforced {
		return notes
	}
	what := "this clone is not known to be closed in"
	if isolation.Result == api.IsolationNotEnforced {
		what = "this clone is not closed in"
	}
	what += ": " + isolation.Message
	if len(open) > 0 {
		what += ". What could reach out, as the CHT's API, which sends messages itself, stays at 0: " + strings.Join(open, ", ")
	}
	return append(notes, what)
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
