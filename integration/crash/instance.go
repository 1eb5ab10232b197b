package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/integration/cht/couch"
)

// has fails unless the CouchDB of a namespace has the first k documents, with k in range.
func (w *world) has(ctx context.Context, namespace string, want span) error {
	return until(ctx, settlesWithin, func(ctx context.Context) error {
		c, err := w.couchOf(ctx, namespace)
		if err != nil {
			return err
		}
		n, err := holds(ctx, c)
		if err == nil && (n < want.least || n > want.most) {
			err = fmt.Errorf("%s has %d documents, want %d to %d", namespace, n, want.least, want.most)
		}
		return err
	})
}

// untouchable is what no clone and no drill may change in the source.
func (w *world) untouchable(ctx context.Context) (string, error) {
	var lines []string
	err := until(ctx, settlesWithin, func(ctx context.Context) error {
		lines = nil
		var deployments appsv1.DeploymentList
		var claims corev1.PersistentVolumeClaimList
		var pods corev1.PodList
		if err := errors.Join(w.c.Client.List(ctx, &deployments, client.InNamespace(w.name)), w.c.Client.List(ctx, &claims, client.InNamespace(w.name)),
			w.c.Client.List(ctx, &pods, client.InNamespace(w.name), client.HasLabels{"cht.service"})); err != nil {
			return err
		}
		for _, d := range deployments.Items {
			lines = append(lines, fmt.Sprint("deployment ", d.Name, " ", d.Generation))
		}
		for _, c := range claims.Items {
			lines = append(lines, "claim "+c.Name+" "+c.Spec.VolumeName)
		}
		for _, p := range pods.Items {
			if p.Labels[api.RoleLabel] != "" {
				continue
			}
			lines = append(lines, fmt.Sprint("pod ", p.Name, " ", p.UID))
			node := couch.New("http://"+p.Status.PodIP+":5984", w.o.User, w.o.Password, http.DefaultTransport)
			for _, path := range []string{"/_membership", "/_node/_local/_nodes/_all_docs", "/_node/_local/_dbs/_all_docs?include_docs=true"} {
				var said any
				if err := node.Get(ctx, path, &said); err != nil {
					return err
				}
				lines = append(lines, fmt.Sprint(p.Name, " ", path, " ", said))
			}
		}
		return nil
	})
	slices.Sort(lines)
	return strings.Join(lines, "\n"), err
}

// volumes gives those of the nodes' claims.
func (w *world) volumes(ctx context.Context) (names []string, err error) {
	err = until(ctx, settlesWithin, func(ctx context.Context) error {
		names = nil
		for i := range nodes {
			var claim corev1.PersistentVolumeClaim
			if err := w.c.Client.Get(ctx, client.ObjectKey{Namespace: w.name, Name: w.o.Claim(i)}, &claim); err != nil {
				return err
			}
			names = append(names, claim.Spec.VolumeName)
		}
		return nil
	})
	return names, err
}

// kept fails unless the volumes of before a restore in place are there: in use again, or
// set aside where nothing deletes them.
func (w *world) kept(ctx context.Context, r *api.Restore, former []string) error {
	now, err := w.volumes(ctx)
	if err != nil {
		return err
	}
	for i, name := range former {
		var pv corev1.PersistentVolume
		if err := until(ctx, 10*time.Second, func(ctx context.Context) error {
			err := w.c.Client.Get(ctx, client.ObjectKey{Name: name}, &pv)
			if apierrors.IsNotFound(err) {
				return nil
			}
			return err
		}); err != nil {
			return err
		}
		switch aside := pv.Spec.PersistentVolumeReclaimPolicy == corev1.PersistentVolumeReclaimRetain && pv.Labels[api.SetAsideLabel] == string(r.UID); {
		case pv.Name == "" || pv.DeletionTimestamp != nil:
			return fmt.Errorf("the former volume %s is gone", name)
		case r.Status.Phase == api.PhaseCompleted && (!aside || now[i] == name):
			return fmt.Errorf("the restore is completed, and the former volume %s is not set aside: %s, labels %v", name, pv.Spec.PersistentVolumeReclaimPolicy, pv.Labels)
		case r.Status.Phase == api.PhaseFailed && now[i] != name:
			return fmt.Errorf("the restore failed, and claim %s has volume %s, not the former %s", w.o.Claim(i), now[i], name)
		}
	}
	if r.Status.Phase != api.PhaseCompleted {
		return nil
	}
	safety := &api.Backup{ObjectMeta: metav1.ObjectMeta{Namespace: w.name, Name: r.Status.SafetyBackup}}
	if err := w.c.Client.Get(ctx, client.ObjectKeyFromObject(safety), safety); err != nil || safety.Status.Phase != api.PhaseCompleted {
		return fmt.Errorf("safety backup %q is %q: %w", safety.Name, safety.Status.Phase, err)
	}
	return nil
}

// clearAside removes what a restore in place keeps for people, as the pages have it.
func (w *world) clearAside(ctx context.Context, r *api.Restore) error {
	if name := r.Status.SafetyBackup; name != "" {
		if err := w.discard(ctx, &api.Backup{ObjectMeta: metav1.ObjectMeta{Namespace: w.name, Name: name}}); err != nil {
			return err
		}
	}
	if err := w.discard(ctx, r); err != nil {
		return err
	}
	var volumes corev1.PersistentVolumeList
	if err := w.c.Client.List(ctx, &volumes, client.HasLabels{api.SetAsideLabel}); err != nil {
		return err
	}
	for i := range volumes.Items {
		pv := &volumes.Items[i]
		if strings.HasPrefix(pv.Annotations[api.SetAsideClaimAnnotation], w.name+"/") {
			if err := w.c.Client.Patch(ctx, pv, client.RawPatch(types.MergePatchType, []byte(`{"spec":{"persistentVolumeReclaimPolicy":"Delete"}}`))); client.IgnoreNotFound(err) != nil {
				return err
			}
		}
	}
	return nil
}
