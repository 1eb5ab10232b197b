package method

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	snapv1 "github.com/kubernetes-csi/external-snapshotter/client/v8/apis/volumesnapshot/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/snapshot"
	"github.com/medic/cht-backup/snapshot/cht"
	"github.com/medic/cht-backup/snapshot/cut"
	"github.com/medic/cht-backup/snapshot/reason"
)

// CSI cuts by VolumeSnapshots.
type CSI interface {
	snapshot.Snapshotter
	Classes(context.Context) ([]snapv1.VolumeSnapshotClass, error)
}

// EBS cuts by EC2.
type EBS interface {
	snapshot.Snapshotter
	// PrepareOf prepares some of the nodes of a set of that size.
	PrepareOf(ctx context.Context, b *api.Backup, nodes []cht.Node, size int) (cut.Prepared, error)
}

// Snapshotter cuts each volume in the way that fits it.
type Snapshotter struct {
	CSI CSI
	EBS EBS
}

// Prepare implements snapshot.Snapshotter.
func (s Snapshotter) Prepare(ctx context.Context, b *api.Backup, nodes []cht.Node) (cut.Prepared, error) {
	var classes []snapv1.VolumeSnapshotClass
	if b.Spec.Method != api.MethodEBS {
		var err error
		if classes, err = s.CSI.Classes(ctx); err != nil && (!absent(err) || b.Spec.Method == api.MethodCSI) {
			return cut.Prepared{}, err
		}
	}
	var byCSI, byEBS []cht.Node
	for _, n := range nodes {
		if Choose(&b.Spec, n.Claim, classes) == api.MethodEBS {
			byEBS = append(byEBS, n)
		} else {
			byCSI = append(byCSI, n)
		}
	}
	if len(byEBS) == 0 {
		return s.CSI.Prepare(ctx, b, nodes)
	}
	ebs, err := s.EBS.PrepareOf(ctx, b, byEBS, len(nodes))
	if err != nil {
		return ebs, withoutClass(b, byEBS[0].Claim, err)
	}
	if len(byCSI) == 0 {
		return ebs, nil
	}
	csi, err := s.CSI.Prepare(ctx, b, byCSI)
	if err != nil {
		ebs.Done()
		return csi, err
	}
	for _, n := range byCSI {
		csi.Volumes = append(csi.Volumes, api.VolumeStatus{Node: n.Service, Claim: n.Claim.Name, Method: api.MethodCSI, Driver: n.Claim.Driver})
	}
	return both(nodes, ebs, csi), nil
}

// withoutClass tells, where Auto came to EBS, that there would have been another way.
func withoutClass(b *api.Backup, claim cht.Claim, err error) error {
	if e := reason.Of(err); e == nil || e.Reason != api.ReasonNoSnapshotClass || b.Spec.Method == api.MethodEBS {
		return err
	}
	way := "attach its storage through a PersistentVolume of a CSI driver that can snapshot (spec.csi with its volumeHandle)"
	if claim.Driver != "" {
		way = fmt.Sprintf("create a VolumeSnapshotClass for driver %s", claim.Driver)
	}
	return reason.Refuse(api.ReasonNoSnapshotClass, "claim %s/%s is %s, which has no VolumeSnapshotClass; %s, or let EBS cut it: %w", b.Namespace, claim.Name, claim.Source, way, err)
}

// both makes one cut of two.
func both(nodes []cht.Node, parts ...cut.Prepared) cut.Prepared {
	whole := cut.Prepared{
		Warm: func(ctx context.Context) error {
			for _, p := range parts {
				if p.Warm == nil {
					continue
				}
				if err := p.Warm(ctx); err != nil {
					return err
				}
			}
			return nil
		},
		Make: func(ctx context.Context) ([]api.VolumeStatus, error) { return makeAll(ctx, nodes, parts) },
		Done: func() {
			for _, p := range parts {
				p.Done()
			}
		},
	}
	for _, p := range parts {
		whole.Volumes = append(whole.Volumes, p.Volumes...)
	}
	inOrder(nodes, whole.Volumes)
	return whole
}

// makeAll makes all parts at once, and gives them all up when one fails.
func makeAll(ctx context.Context, nodes []cht.Node, parts []cut.Prepared) ([]api.VolumeStatus, error) {
	made, cancel := context.WithCancel(ctx)
	defer cancel()
	var mu sync.Mutex
	var first error
	var volumes []api.VolumeStatus
	var all sync.WaitGroup
	for _, p := range parts {
		all.Go(func() {
			some, err := p.Make(made)
			mu.Lock()
			defer mu.Unlock()
			if err != nil && first == nil {
				first = err
				cancel()
			}
			volumes = append(volumes, some...)
		})
	}
	all.Wait()
	if first != nil {
		return nil, first
	}
	inOrder(nodes, volumes)
	return volumes, nil
}

func inOrder(nodes []cht.Node, volumes []api.VolumeStatus) {
	at := func(v api.VolumeStatus) int {
		return slices.IndexFunc(nodes, func(n cht.Node) bool { return n.Service == v.Node })
	}
	slices.SortFunc(volumes, func(a, b api.VolumeStatus) int { return at(a) - at(b) })
}

// absent tells whether the cluster does not have the snapshot kinds.
func absent(err error) bool { return meta.IsNoMatchError(err) || apierrors.IsNotFound(err) }

// Refresh implements snapshot.Snapshotter.
func (s Snapshotter) Refresh(ctx context.Context, b *api.Backup, volumes ...*api.VolumeStatus) error {
	return s.each(volumes, func(to snapshot.Snapshotter, some []*api.VolumeStatus) error { return to.Refresh(ctx, b, some...) })
}

// Mark implements snapshot.Snapshotter.
func (s Snapshotter) Mark(ctx context.Context, b *api.Backup, volumes ...*api.VolumeStatus) error {
	return s.each(volumes, func(to snapshot.Snapshotter, some []*api.VolumeStatus) error { return to.Mark(ctx, b, some...) })
}

// Keep implements snapshot.Snapshotter.
func (s Snapshotter) Keep(ctx context.Context, b *api.Backup, volumes ...*api.VolumeStatus) error {
	return s.each(volumes, func(to snapshot.Snapshotter, some []*api.VolumeStatus) error { return to.Keep(ctx, b, some...) })
}

// each asks both, for their part of the volumes. What the one does not know shall not
// hide what the other does.
func (s Snapshotter) each(volumes []*api.VolumeStatus, ask func(snapshot.Snapshotter, []*api.VolumeStatus) error) error {
	var byCSI, byEBS []*api.VolumeStatus
	for _, v := range volumes {
		if v.Method == api.MethodEBS {
			byEBS = append(byEBS, v)
		} else {
			byCSI = append(byCSI, v)
		}
	}
	var errs []error
	if len(byCSI) > 0 {
		errs = append(errs, ask(s.CSI, byCSI))
	}
	if len(byEBS) > 0 {
		errs = append(errs, ask(s.EBS, byEBS))
	}
	return errors.Join(errs...)
}

// Discard implements snapshot.Snapshotter.
func (s Snapshotter) Discard(ctx context.Context, b *api.Backup) (left int, err error) {
	csi := b.Spec.Method != api.MethodEBS && (len(b.Status.Volumes) == 0 || slices.ContainsFunc(b.Status.Volumes, func(v api.VolumeStatus) bool { return v.Method != api.MethodEBS }))
	if csi {
		if left, err = s.CSI.Discard(ctx, b); absent(err) {
			left, err = 0, nil // a cluster without the kinds has no snapshots of them
		}
	}
	more, ebsErr := s.EBS.Discard(ctx, b)
	return left + more, errors.Join(err, ebsErr)
}
