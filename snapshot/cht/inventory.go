package cht

import (
	"context"
	"fmt"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/medic/cht-backup/snapshot/paged"
)

// Inventory are the objects an instance is discovered from.
type Inventory struct {
	Namespace    string
	Pods         []corev1.Pod
	Deployments  []appsv1.Deployment
	StatefulSets []appsv1.StatefulSet
	Claims       map[string]corev1.PersistentVolumeClaim
	Volumes      map[string]corev1.PersistentVolume
	Credentials  *corev1.Secret
}

// Load reads the inventory of a namespace.
func Load(ctx context.Context, c client.Reader, namespace string) (Inventory, error) {
	inv := Inventory{Namespace: namespace, Claims: map[string]corev1.PersistentVolumeClaim{}, Volumes: map[string]corev1.PersistentVolume{}}
	in := client.InNamespace(namespace)
	var pods corev1.PodList
	if err := paged.All(ctx, c, &pods, in, client.HasLabels{ServiceLabel}); err != nil {
		return inv, fmt.Errorf("list pods of %s: %w", namespace, err)
	}
	var deployments appsv1.DeploymentList
	if err := paged.All(ctx, c, &deployments, in); err != nil {
		return inv, fmt.Errorf("list deployments of %s: %w", namespace, err)
	}
	var sets appsv1.StatefulSetList
	if err := paged.All(ctx, c, &sets, in); err != nil {
		return inv, fmt.Errorf("list statefulsets of %s: %w", namespace, err)
	}
	var claims corev1.PersistentVolumeClaimList
	if err := paged.All(ctx, c, &claims, in); err != nil {
		return inv, fmt.Errorf("list claims of %s: %w", namespace, err)
	}
	inv.Pods, inv.Deployments, inv.StatefulSets = pods.Items, deployments.Items, sets.Items
	for _, claim := range claims.Items {
		inv.Claims[claim.Name] = claim
	}
	for _, claim := range inv.Claims {
		if claim.Spec.VolumeName == "" {
			continue
		}
		var volume corev1.PersistentVolume
		if err := c.Get(ctx, client.ObjectKey{Name: claim.Spec.VolumeName}, &volume); client.IgnoreNotFound(err) != nil {
			return inv, fmt.Errorf("get volume %s of claim %s: %w", claim.Spec.VolumeName, claim.Name, err)
		} else if err == nil {
			inv.Volumes[volume.Name] = volume
		}
	}
	var secret corev1.Secret
	if err := c.Get(ctx, client.ObjectKey{Namespace: namespace, Name: CredentialsSecret}, &secret); err == nil {
		inv.Credentials = &secret
	} else if !apierrors.IsNotFound(err) {
		return inv, fmt.Errorf("get secret %s/%s: %w", namespace, CredentialsSecret, err)
	}
	return inv, nil
}
