package doctor

import (
	"context"
	"slices"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/snapshot/cht"
	"github.com/medic/cht-backup/snapshot/paged"
)

// lookAtUse looks into the namespaces where something may be left behind: what is
// in use is not.
func (w *Cluster) lookAtUse(ctx context.Context, c client.Client) error {
	var namespaces []string
	for i := range w.Claims {
		if n := w.Claims[i].Namespace; !w.lives(types.UID(w.Claims[i].Labels[api.RestoreUIDLabel])) && !slices.Contains(namespaces, n) {
			namespaces = append(namespaces, n)
		}
	}
	for _, namespace := range namespaces {
		if err := w.lookAtClaims(ctx, c, namespace); err != nil {
			if err := w.note(kindClaims, err); err != nil {
				return err
			}
			// Not known is in use.
			w.Claims = slices.DeleteFunc(w.Claims, func(o metav1.PartialObjectMetadata) bool { return o.Namespace == namespace })
		}
	}
	for i := range w.Namespaces {
		n := &w.Namespaces[i]
		if n.DeletionTimestamp != nil {
			continue
		}
		holds, err := holding(ctx, c, n.Name)
		if err == nil {
			w.Holds[n.Name] = holds
		} else if err := w.note("what is in namespace "+n.Name, err); err != nil {
			return err
		}
	}
	return nil
}

// lookAtClaims notes which claims of a namespace a pod or workload names.
func (w *Cluster) lookAtClaims(ctx context.Context, c client.Client, namespace string) error {
	in := client.InNamespace(namespace)
	use := func(spec *corev1.PodSpec) {
		for _, v := range spec.Volumes {
			if v.PersistentVolumeClaim != nil {
				w.InUse[namespace+"/"+v.PersistentVolumeClaim.ClaimName] = true
			}
		}
	}
	for _, list := range []func() error{
		func() error {
			return paged.Each(ctx, c, &corev1.PodList{}, func(l *corev1.PodList) {
				for i := range l.Items {
					use(&l.Items[i].Spec)
				}
			}, in)
		},
		func() error {
			return paged.Each(ctx, c, &appsv1.DeploymentList{}, func(l *appsv1.DeploymentList) {
				for i := range l.Items {
					use(&l.Items[i].Spec.Template.Spec)
				}
			}, in)
		},
		func() error {
			return paged.Each(ctx, c, &appsv1.StatefulSetList{}, func(l *appsv1.StatefulSetList) {
				for i := range l.Items {
					use(&l.Items[i].Spec.Template.Spec)
				}
			}, in)
		},
		func() error {
			return paged.Each(ctx, c, &batchv1.CronJobList{}, func(l *batchv1.CronJobList) {
				for i := range l.Items {
					use(&l.Items[i].Spec.JobTemplate.Spec.Template.Spec)
				}
			}, in)
		},
	} {
		if err := list(); err != nil {
			return err
		}
	}
	return nil
}

// heldKinds are the kinds that may be somebody's work.
var heldKinds = slices.Concat(cht.ObjectKinds, []schema.GroupVersionKind{
	{Version: "v1", Kind: "PersistentVolumeClaim"}, {Version: "v1", Kind: "Pod"},
	{Group: "apps", Version: "v1", Kind: "DaemonSet"}, {Group: "apps", Version: "v1", Kind: "ReplicaSet"},
	{Group: "batch", Version: "v1", Kind: "Job"}, {Group: "batch", Version: "v1", Kind: "CronJob"},
	api.GroupVersion.WithKind("Backup"), api.GroupVersion.WithKind("BackupSchedule"), api.GroupVersion.WithKind("Restore"),
})

// holding tells what is in a namespace.
func holding(ctx context.Context, c client.Client, namespace string) (h Holding, err error) {
	for _, kind := range heldKinds {
		objects, err := metadata(ctx, c, kind, client.InNamespace(namespace))
		if err != nil {
			return h, err
		}
		for i := range objects {
			o := &objects[i]
			if everywhere(kind.Kind, o) || o.DeletionTimestamp != nil {
				continue
			}
			h.Any = kind.Kind + " " + o.Name
			if o.Labels[api.RestoreUIDLabel] == "" && len(o.OwnerReferences) == 0 {
				h.Foreign = h.Any
				return h, nil
			}
		}
	}
	return h, nil
}

// everywhere tells whether an object is in every namespace.
func everywhere(kind string, o *metav1.PartialObjectMetadata) bool {
	switch kind {
	case "ConfigMap":
		return o.Name == "kube-root-ca.crt"
	case "ServiceAccount":
		return o.Name == "default"
	case "Secret":
		return o.Annotations[corev1.ServiceAccountNameKey] != ""
	}
	return false
}
