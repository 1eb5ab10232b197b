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
	// File copies the files into the catalog; nil where there is none.
	File snapshot.Snapshotter
}

// Prepare implements snapshot.Snapshotter.
func (s Snapshotter) Prepare(ctx context.Context, b *api.Backup, nodes []cht.Node) (cut.Prepared, error) {
	var classes []snapv1.VolumeSnapshotClass
	if b.Spec.Method == api.MethodFile && s.File == nil {
		return cut.Prepared{}, reason.Refuse(api.ReasonNoCatalog, "method File copies the files into the catalog, and none is configured: set controller.catalog.url (docs/catalog.md), then create another Backup")
	}
	if b.Spec.Method != api.MethodEBS && b.Spec.Method != api.MethodFile {
		var err error
		if classes, err = s.CSI.Classes(ctx); err != nil && (!absent(err) || b.Spec.Method == api.MethodCSI) {
			return cut.Prepared{}, err
		}
	}
	by := map[api.Method][]cht.Node{}
	for _, n := range nodes {
		m := Choose(&b.Spec, n.Claim, classes, s.File != nil)
		by[m] = append(by[m], n)
	}
	if len(by[api.MethodCSI]) == len(nodes) {
		p, err := s.CSI.Prepare(ctx, b, nodes)
		return p, s.orFiles(b, err)
	}
	var parts []cut.Prepared
	for _, m := range []api.Method{api.MethodEBS, api.MethodCSI, api.MethodFile} {
		if len(by[m]) == 0 {
			continue
		}
		p, err := s.part(ctx, b, m, by[m], len(nodes))
		if err != nil {
			for _, open := range parts {
				open.Done()
			}
			return p, err
		}
		parts = append(parts, p)
	}
	if len(parts) == 1 {
		return parts[0], nil
	}
	return whole(nodes, parts...), nil
}

// part prepares those nodes of a set that are cut in one way.
func (s Snapshotter) part(ctx context.Context, b *api.Backup, m api.Method, nodes []cht.Node, size int) (p cut.Prepared, err error) {
	switch m {
	case api.MethodEBS:
		if p, err = s.EBS.PrepareOf(ctx, b, nodes, size); err != nil {
			err = withoutClass(b, nodes[0].Claim, err)
		}
	case api.MethodFile:
		p, err = s.File.Prepare(ctx, b, nodes)
	default:
		if p, err = s.CSI.Prepare(ctx, b, nodes); err != nil {
			return p, s.orFiles(b, err)
		}
		for _, n := range nodes {
			p.Volumes = append(p.Volumes, api.VolumeStatus{Node: n.Service, Claim: n.Claim.Name, Method: api.MethodCSI, Driver: n.Claim.Driver})
		}
	}
	return p, err
}

// orFiles tells, where a volume has no snapshots, that its files could be copied.
func (s Snapshotter) orFiles(b *api.Backup, err error) error {
	if e := reason.Of(err); e == nil || e.Reason != api.ReasonNoSnapshotClass || b.Spec.Method == api.MethodCSI || s.File != nil {
		return err
	}
	return reason.Refuse(api.ReasonNoSnapshotClass, "%w; or configure a catalog (controller.catalog.url), into which the files of such volumes are copied (docs/file.md)", err)
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

// whole makes one cut of several.
func whole(nodes []cht.Node, parts ...cut.Prepared) cut.Prepared {
	all := cut.Prepared{
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
		all.Volumes = append(all.Volumes, p.Volumes...)
	}
	inOrder(nodes, all.Volumes)
	return all
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

// each asks all, for their part of the volumes. What the one does not know shall not
// hide what another does.
func (s Snapshotter) each(volumes []*api.VolumeStatus, ask func(snapshot.Snapshotter, []*api.VolumeStatus) error) error {
	var byCSI, byEBS, byFile []*api.VolumeStatus
	for _, v := range volumes {
		switch v.Method {
		case api.MethodEBS:
			byEBS = append(byEBS, v)
		case api.MethodFile:
			byFile = append(byFile, v)
		default:
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
	switch {
	case len(byFile) == 0:
	case s.File == nil: // the catalog was taken out of the settings meanwhile
		errs = append(errs, reason.Refuse(api.ReasonNoCatalog, "the files of %s are copied into the catalog, and none is configured any more", byFile[0].Node))
	default:
		errs = append(errs, ask(s.File, byFile))
	}
	return errors.Join(errs...)
}

// Discard implements snapshot.Snapshotter.
func (s Snapshotter) Discard(ctx context.Context, b *api.Backup) (left int, err error) {
	csi := b.Spec.Method != api.MethodEBS && b.Spec.Method != api.MethodFile && (len(b.Status.Volumes) == 0 ||
		slices.ContainsFunc(b.Status.Volumes, func(v api.VolumeStatus) bool { return v.Method != api.MethodEBS && v.Method != api.MethodFile }))
	if csi {
		if left, err = s.CSI.Discard(ctx, b); absent(err) {
			left, err = 0, nil // a cluster without the kinds has no snapshots of them
		}
	}
	more, ebsErr := s.EBS.Discard(ctx, b)
	left, err = left+more, errors.Join(err, ebsErr)
	if s.File != nil { // copies beside snapshots, too
		var fileErr error
		more, fileErr = s.File.Discard(ctx, b)
		left, err = left+more, errors.Join(err, fileErr)
	}
	return left, err
}
