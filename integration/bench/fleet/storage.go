package main

import (
	"context"
	"fmt"

	snapv1 "github.com/kubernetes-csi/external-snapshotter/client/v8/apis/volumesnapshot/v1"
)

// driver is the CSI driver that is played.
const driver = "fleet.csi.cht-backup.test"

// contents gives the snapshots that are there.
func (f *fleet) contents(ctx context.Context) ([]snapv1.VolumeSnapshotContent, error) {
	var list snapv1.VolumeSnapshotContentList
	if err := f.client.List(ctx, &list); err != nil {
		return nil, fmt.Errorf("list VolumeSnapshotContents: %w", err)
	}
	var ours []snapv1.VolumeSnapshotContent
	for _, c := range list.Items {
		if c.Spec.Driver == driver {
			ours = append(ours, c)
		}
	}
	return ours, nil
}
