package command

import (
	"context"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/medic/cht-backup/cmd/kubectl-cht/internal/exit"
	"github.com/medic/cht-backup/snapshot/cht"
)

// checkTarget refuses a target that cannot take a restore, and tells whether its
// namespace has yet to be made.
func (e *Env) checkTarget(ctx context.Context, c client.Client, f *restoreFlags) (missing bool, err error) {
	var namespace corev1.Namespace
	err = c.Get(ctx, client.ObjectKey{Name: f.to}, &namespace)
	switch {
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
		e.note("you may not see the workloads of %s; the controller checks that it holds no CHT", f.to)
		return false, nil
	case err != nil:
		return false, exit.Explain("look for a CHT in namespace "+f.to, err)
	case workload != "":
		return false, exit.Errorf(exit.Refused, "namespace %s holds a CHT already (%s); a restore needs an empty namespace, choose another with --to", f.to, workload)
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

func createNamespace(ctx context.Context, c client.Client, name string) error {
	err := c.Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}})
	if apierrors.IsAlreadyExists(err) {
		return nil // somebody was quicker; the Restore says whether it will do
	}
	return exit.Explain("create namespace "+name+" (or have it created, and pass --create-namespace=false)", err)
}
