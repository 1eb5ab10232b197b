package command

import (
	"context"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/cmd/kubectl-cht/internal/exit"
	"github.com/medic/cht-backup/snapshot/cht"
)

// checkTarget refuses a target that cannot take a restore, and tells whether its
// namespace has yet to be made. What runs in place, or takes one database, must
// be there; anything else needs a namespace without a CHT.
func (e *Env) checkTarget(ctx context.Context, c client.Client, f *restoreFlags) (missing bool, err error) {
	const elsewhere = "to bring the whole CHT back in a namespace without one, give --to NAMESPACE without --in-place and --database"
	var namespace corev1.Namespace
	err = c.Get(ctx, client.ObjectKey{Name: f.to}, &namespace)
	switch {
	case apierrors.IsNotFound(err) && f.running():
		return false, exit.Errorf(exit.Refused, "namespace %s does not exist, so that there is no running CHT to restore into; %s", f.to, elsewhere)
	case apierrors.IsNotFound(err) && f.createNamespace:
		return true, nil
	case apierrors.IsNotFound(err):
		return false, exit.Errorf(exit.Refused, "namespace %s does not exist; create it, or leave --create-namespace at true", f.to)
	case apierrors.IsForbidden(err):
		// Tenants often may not read Namespaces; creating the Restore will tell.
	case err != nil:
		return false, exit.Explain("get namespace "+f.to, err)
	case namespace.DeletionTimestamp != nil:
		return false, exit.Errorf(exit.Refused, "namespace %s is being deleted; wait until it is gone (`kubectl wait --for=delete ns/%s`), or choose another", f.to, f.to)
	}
	workload, err := findCHT(ctx, c, f.to)
	switch {
	case apierrors.IsForbidden(err):
		what := "holds no CHT"
		if f.running() {
			what = "holds one that fits"
		}
		e.note("you may not see the workloads of %s; the controller checks that it %s", f.to, what)
		return false, nil
	case err != nil:
		return false, exit.Explain("look for a CHT in namespace "+f.to, err)
	case f.running() && workload == "":
		return false, exit.Errorf(exit.Refused, "namespace %s holds no CHT to restore into; %s", f.to, elsewhere)
	case !f.running() && workload != "":
		return false, exit.Errorf(exit.Refused, "namespace %s holds a CHT already (%s); a restore needs an empty namespace, choose another with --to, or put this one back with --in-place", f.to, workload)
	}
	return false, nil
}

// findCHT names a workload or pod of a CHT, or gives "".
func findCHT(ctx context.Context, c client.Client, namespace string) (string, error) {
	in := client.InNamespace(namespace)
	var deployments appsv1.DeploymentList
	if err := c.List(ctx, &deployments, in); err != nil {
		return "", err
	}
	for _, d := range deployments.Items {
		if d.Spec.Template.Labels[cht.ServiceLabel] != "" {
			return "deployment " + d.Name, nil
		}
	}
	var sets appsv1.StatefulSetList
	if err := c.List(ctx, &sets, in); err != nil {
		return "", err
	}
	for _, s := range sets.Items {
		if s.Spec.Template.Labels[cht.ServiceLabel] != "" {
			return "statefulset " + s.Name, nil
		}
	}
	var pods corev1.PodList
	if err := c.List(ctx, &pods, in, client.HasLabels{cht.ServiceLabel}); err != nil {
		return "", err
	}
	for _, p := range pods.Items {
		return "pod " + p.Name, nil
	}
	return "", nil
}

// createNamespace makes the target, nil when somebody was quicker: the Restore
// says then whether it will do. That of a clone tells whose it is, so that it
// goes with the clone when its time is over.
func createNamespace(ctx context.Context, c client.Client, restore *api.Restore) (*corev1.Namespace, error) {
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: restore.Namespace}}
	if !restore.Spec.GoLive {
		namespace.Annotations = map[string]string{api.CreatedForAnnotation: restore.Name}
	}
	err := c.Create(ctx, namespace)
	if apierrors.IsAlreadyExists(err) {
		return nil, nil
	}
	if err != nil {
		return nil, exit.Explain("create namespace "+namespace.Name+" (or have it created, and pass --create-namespace=false)", err)
	}
	return namespace, nil
}
