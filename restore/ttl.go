package restore

import (
	"context"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	ctrl "sigs.k8s.io/controller-runtime"

	api "github.com/medic/cht-backup/api/v1alpha1"
)

// setExpiration notes when a clone that has ended is removed.
func setExpiration(restore *api.Restore) {
	restore.Status.ExpirationTime = nil
	if ttl := restore.Spec.TimeToLive; ttl != nil && restore.Status.CompletionTime != nil {
		at := metav1.NewTime(restore.Status.CompletionTime.Add(ttl.Duration))
		restore.Status.ExpirationTime = &at
	}
}

// expire removes a clone whose time is over.
func (r *Reconciler) expire(context.Context, *api.Restore) (ctrl.Result, error) {
	return ctrl.Result{}, nil
}
