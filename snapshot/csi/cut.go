package csi

import (
	"context"
	"errors"
	"fmt"
	"sync"

	snapv1 "github.com/kubernetes-csi/external-snapshotter/client/v8/apis/volumesnapshot/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/snapshot/cht"
	"github.com/medic/cht-backup/snapshot/cut"
	"github.com/medic/cht-backup/snapshot/reason"
)

// Snapshotter cuts volumes. Client must not be a cached one: between a cut and
// the thaw, old news cost stall.
type Snapshotter struct {
	Client client.WithWatch
	// Held asks what is asked while writes are held; it must not wait for a limiter
	// that others use. Default: Client.
	Held client.Client
}

// target is one volume to cut.
type target struct {
	node     string
	snapshot *snapv1.VolumeSnapshot
}

// Prepare implements snapshot.Snapshotter. It opens the watch that the cut
// listens to, so that nothing of the stall is spent on it.
func (s Snapshotter) Prepare(ctx context.Context, b *api.Backup, nodes []cht.Node) (cut.Prepared, error) {
	classes, err := s.Classes(ctx)
	if err != nil {
		return cut.Prepared{}, err
	}
	targets := make([]target, len(nodes))
	for i, node := range nodes {
		class, err := ClassFor(b.Namespace, node.Claim, b.Spec.VolumeSnapshotClassName, classes)
		if err != nil {
			return cut.Prepared{}, err
		}
		targets[i] = target{node: node.Service, snapshot: newSnapshot(b, node, class)}
	}
	// Only news matter, so the watch begins at the list's version; the list asks for
	// one item, since contents may be many thousands.
	var now snapv1.VolumeSnapshotContentList
	if err := s.Client.List(ctx, &now, client.Limit(1)); err != nil {
		return cut.Prepared{}, fmt.Errorf("list VolumeSnapshotContents: %w", err)
	}
	events, err := s.Client.Watch(ctx, &snapv1.VolumeSnapshotContentList{}, &client.ListOptions{Raw: &metav1.ListOptions{ResourceVersion: now.ResourceVersion}})
	if err != nil {
		return cut.Prepared{}, fmt.Errorf("watch VolumeSnapshotContents: %w", err)
	}
	return cut.Prepared{
		Make: func(ctx context.Context) ([]api.VolumeStatus, error) { return s.cut(ctx, events.ResultChan(), targets) },
		Done: events.Stop,
	}, nil
}

func newSnapshot(b *api.Backup, node cht.Node, class string) *snapv1.VolumeSnapshot {
	return &snapv1.VolumeSnapshot{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: b.Namespace,
			Name:      snapshotName(b.Name, b.UID, b.Status.Attempt, node.Service),
			Labels: map[string]string{
				api.BackupUIDLabel: string(b.UID), api.AttemptLabel: fmt.Sprint(b.Status.Attempt), api.NodeLabel: node.Service,
			},
			OwnerReferences: []metav1.OwnerReference{*metav1.NewControllerRef(b, api.GroupVersion.WithKind("Backup"))},
		},
		Spec: snapv1.VolumeSnapshotSpec{
			Source:                  snapv1.VolumeSnapshotSource{PersistentVolumeClaimName: &node.Claim.Name},
			VolumeSnapshotClassName: &class,
		},
	}
}

// cut creates all snapshots at once and returns when the point in time of each
// is fixed: when creationTime stands in its content, long before it is ready.
// The content is watched and not the snapshot, which learns of it a hop later.
func (s Snapshotter) cut(ctx context.Context, events <-chan watch.Event, targets []target) ([]api.VolumeStatus, error) {
	// A name taken is an error, even by a snapshot of ours: it would be of an earlier
	// cut, and a set is cut whole.
	held := s.Held
	if held == nil {
		held = s.Client
	}
	errs := make([]error, len(targets))
	var created sync.WaitGroup
	for i, t := range targets {
		created.Go(func() {
			if err := held.Create(ctx, t.snapshot); err != nil {
				errs[i] = reason.Failed(api.ReasonSnapshotFailed, "%s: create VolumeSnapshot %s/%s: %w", t.node, t.snapshot.Namespace, t.snapshot.Name, err)
			}
		})
	}
	created.Wait()
	if err := errors.Join(errs...); err != nil {
		return nil, causeOr(ctx, err)
	}
	waiting := make(map[string]target, len(targets))
	for _, t := range targets {
		waiting[contentName(t.snapshot)] = t
	}
	var cuts []api.VolumeStatus
	for len(waiting) > 0 {
		select {
		case <-ctx.Done():
			return nil, causeOr(ctx, ctx.Err())
		case event, open := <-events:
			if !open {
				return nil, reason.Failed(api.ReasonSnapshotFailed, "the watch of VolumeSnapshotContents ended before all volumes were cut")
			}
			content, ok := event.Object.(*snapv1.VolumeSnapshotContent)
			if !ok {
				return nil, reason.Failed(api.ReasonSnapshotFailed, "the watch of VolumeSnapshotContents failed: %w", apierrors.FromObject(event.Object))
			}
			t, ours := waiting[content.Name]
			if !ours || content.Status == nil {
				continue
			}
			claim := *t.snapshot.Spec.Source.PersistentVolumeClaimName
			if e := content.Status.Error; e != nil && e.Message != nil {
				return nil, reason.Failed(api.ReasonSnapshotFailed, "%s: snapshot of claim %s: %s", t.node, claim, *e.Message)
			}
			if content.Status.CreationTime != nil {
				v := api.VolumeStatus{Node: t.node, Claim: claim, Method: api.MethodCSI, Snapshot: t.snapshot.Name, Content: content.Name}
				learn(&v, content)
				cuts = append(cuts, v)
				delete(waiting, content.Name)
			}
		}
	}
	return cuts, nil
}

// causeOr prefers the reason a context ended for over the error that the end of
// the context produced somewhere below.
func causeOr(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil && reason.Of(cause) != nil {
		return cause
	}
	return err
}

// Classes lists the snapshot classes of the cluster.
func (s Snapshotter) Classes(ctx context.Context) ([]snapv1.VolumeSnapshotClass, error) {
	var classes snapv1.VolumeSnapshotClassList
	if err := s.Client.List(ctx, &classes); err != nil {
		return nil, fmt.Errorf("list VolumeSnapshotClasses (are the snapshot CRDs installed?): %w", err)
	}
	return classes.Items, nil
}
