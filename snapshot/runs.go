package snapshot

import (
	"cmp"
	"context"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/medic/cht-backup/snapshot/catalog"
	"github.com/medic/cht-backup/snapshot/cht"
)

// imagesOf tells what the instance's pods run, each image of a component once.
func imagesOf(pods []corev1.Pod) []catalog.Image {
	var images []catalog.Image
	for i := range pods {
		p := &pods[i]
		for _, c := range p.Status.ContainerStatuses {
			image := catalog.Image{Component: p.Labels[cht.ServiceLabel], Container: c.Name, Image: c.Image, ID: c.ImageID}
			if !slices.Contains(images, image) {
				images = append(images, image)
			}
		}
	}
	slices.SortFunc(images, func(a, b catalog.Image) int {
		return cmp.Or(strings.Compare(a.Component, b.Component), strings.Compare(a.Container, b.Container), strings.Compare(a.ID, b.ID))
	})
	return images
}

// releaseOf tells of the Helm release, nil where there is none. It is told to people,
// no more: no backup fails for it.
func (r *Reconciler) releaseOf(ctx context.Context, inv cht.Inventory) *catalog.Release {
	release, err := cht.HelmRelease(ctx, r.Client, inv)
	if err != nil {
		log.FromContext(ctx).Info("the record is without the Helm release", "error", err.Error())
	}
	if release == nil {
		return nil
	}
	return &catalog.Release{Name: release.Name, Revision: release.Revision, Chart: release.Chart, Version: release.Version, AppVersion: release.AppVersion, Values: release.Values}
}
