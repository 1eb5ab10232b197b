package preflight

import (
	"context"
	"fmt"

	snapv1 "github.com/kubernetes-csi/external-snapshotter/client/v8/apis/volumesnapshot/v1"
	appsv1 "k8s.io/api/apps/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/cmd/kubectl-cht/internal/exit"
	"github.com/medic/cht-backup/snapshot/paged"
)

const (
	productLabel = "app.kubernetes.io/name"
	productName  = "cht-backup"
	defaultClass = "storageclass.kubernetes.io/is-default-class"
)

// Look sees what there is with the user's rights. What he may not see is noted, any
// other failure is an error: then nothing is known of the cluster.
func Look(ctx context.Context, c client.Client, system, namespace string) (Cluster, error) {
	seen := Cluster{System: system}
	for _, each := range []struct {
		what string
		look func(context.Context, client.Client, *Cluster) error
	}{
		{"the kinds of cht-backup", lookKinds},
		{SeeControllers, lookController},
		{SeeDrivers, lookDrivers},
		{SeeClasses, lookClasses},
		{SeeNodes, lookNodes},
		{SeeCapacities, lookCapacities},
		{SeeNamespace, func(ctx context.Context, c client.Client, seen *Cluster) error {
			return lookNamespace(ctx, c, namespace, seen)
		}},
		{SeeRights, func(ctx context.Context, c client.Client, seen *Cluster) error {
			return lookRights(ctx, c, namespace, seen)
		}},
	} {
		err := each.look(ctx, c, &seen)
		switch {
		case apierrors.IsForbidden(err), exit.UnknownKind(err):
			seen.Unseen = append(seen.Unseen, each.what)
		case err != nil:
			return seen, fmt.Errorf("look at %s: %w", each.what, err)
		}
	}
	return seen, nil
}

// lookKinds asks with a list of one: that a kind may not be listed says that it is
// there.
func lookKinds(ctx context.Context, c client.Client, seen *Cluster) (err error) {
	if seen.Ours, err = has(ctx, c, &api.RestoreList{}); err != nil {
		return err
	}
	seen.Snapshots, err = has(ctx, c, &snapv1.VolumeSnapshotContentList{})
	return err
}

func has(ctx context.Context, c client.Client, list client.ObjectList) (bool, error) {
	err := c.List(ctx, list, client.Limit(1))
	if err == nil || apierrors.IsForbidden(err) {
		return true, nil
	}
	if exit.UnknownKind(err) {
		return false, nil
	}
	return false, err
}

func lookController(ctx context.Context, c client.Client, seen *Cluster) error {
	var list appsv1.DeploymentList
	if err := c.List(ctx, &list, client.InNamespace(seen.System), client.MatchingLabels{productLabel: productName}); err != nil {
		return err
	}
	for _, d := range list.Items {
		one := Controller{Name: d.Name, Ready: d.Status.ReadyReplicas}
		if containers := d.Spec.Template.Spec.Containers; len(containers) > 0 {
			one.Image = containers[0].Image
		}
		seen.Controllers = append(seen.Controllers, one)
	}
	return nil
}

func lookDrivers(ctx context.Context, c client.Client, seen *Cluster) error {
	var list storagev1.CSIDriverList
	if err := c.List(ctx, &list); err != nil {
		return err
	}
	for _, d := range list.Items {
		seen.Drivers = append(seen.Drivers, d.Name)
	}
	return nil
}

func lookClasses(ctx context.Context, c client.Client, seen *Cluster) error {
	var list storagev1.StorageClassList
	if err := c.List(ctx, &list); err != nil {
		return err
	}
	for _, s := range list.Items {
		class := Class{Name: s.Name, Driver: s.Provisioner, Default: s.Annotations[defaultClass] == "true"}
		for _, term := range s.AllowedTopologies {
			for _, e := range term.MatchLabelExpressions {
				if e.Key == corev1.LabelTopologyZone || e.Key == "topology."+s.Provisioner+"/zone" || e.Key == corev1.LabelFailureDomainBetaZone {
					class.Zones = append(class.Zones, e.Values...)
				}
			}
		}
		seen.Classes = append(seen.Classes, class)
	}
	return nil
}

func lookNodes(ctx context.Context, c client.Client, seen *Cluster) error {
	return paged.Each(ctx, c, &corev1.NodeList{}, func(page *corev1.NodeList) { seen.Nodes = append(seen.Nodes, page.Items...) })
}

func lookCapacities(ctx context.Context, c client.Client, seen *Cluster) error {
	return paged.Each(ctx, c, &storagev1.CSIStorageCapacityList{}, func(page *storagev1.CSIStorageCapacityList) {
		for _, s := range page.Items {
			one := Capacity{Class: s.StorageClassName}
			if s.Capacity == nil && s.MaximumVolumeSize == nil {
				continue // the driver does not know
			}
			if s.Capacity != nil {
				one.Left = s.Capacity.Value()
			}
			if s.MaximumVolumeSize != nil {
				one.Most = s.MaximumVolumeSize.Value()
			}
			seen.Capacities = append(seen.Capacities, one)
		}
	})
}

func lookNamespace(ctx context.Context, c client.Client, namespace string, seen *Cluster) error {
	var n corev1.Namespace
	err := c.Get(ctx, client.ObjectKey{Name: namespace}, &n)
	if apierrors.IsNotFound(err) {
		seen.Missing = true
		return nil
	}
	seen.Ending = err == nil && n.DeletionTimestamp != nil
	return err
}

// Rights are those that the plugin needs to import a record and to have it restored.
func Rights(system, namespace string, create bool) []Right {
	all := []Right{
		{"list", "", "secrets", system, "to look for the record"},
		{"create", "", "secrets", system, "to import the record"},
		{"update", "", "secrets", system, "to import the record anew"},
		{"create", api.GroupVersion.Group, "restores", namespace, "to have it restored"},
		{"watch", api.GroupVersion.Group, "restores", namespace, "to follow it"},
	}
	if create {
		all = append(all, Right{"create", "", "namespaces", "", "to make the namespace"})
	}
	return all
}

func lookRights(ctx context.Context, c client.Client, namespace string, seen *Cluster) error {
	for _, r := range Rights(seen.System, namespace, seen.Missing) {
		review := &authorizationv1.SelfSubjectAccessReview{Spec: authorizationv1.SelfSubjectAccessReviewSpec{
			ResourceAttributes: &authorizationv1.ResourceAttributes{Namespace: r.Namespace, Verb: r.Verb, Group: r.Group, Resource: r.Resource}}}
		if err := c.Create(ctx, review); err != nil {
			return err
		}
		if !review.Status.Allowed {
			seen.Denied = append(seen.Denied, r)
		}
	}
	return nil
}
