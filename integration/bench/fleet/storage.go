package main

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"time"

	snapv1 "github.com/kubernetes-csi/external-snapshotter/client/v8/apis/volumesnapshot/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// driver is the CSI driver that storage plays.
const driver = "fleet.csi.cht-backup.test"

// storage plays a CSI sidecar and its driver: a content is cut some time after it was
// made, and ready some time after that.
type storage struct {
	client client.WithWatch
	o      options

	mu   sync.Mutex
	seen map[types.UID]*content
}

// content is what was begun for one.
type content struct{ cut, removed sync.Once }

func (s *storage) run(ctx context.Context) {
	follow(ctx, s.client, func() client.ObjectList { return &snapv1.VolumeSnapshotContentList{} }, func(o client.Object) {
		c, ok := o.(*snapv1.VolumeSnapshotContent)
		if !ok || c.Spec.Driver != driver {
			return
		}
		s.mu.Lock()
		one := s.seen[c.UID]
		if one == nil {
			one = &content{}
			s.seen[c.UID] = one
		}
		s.mu.Unlock()
		if c.DeletionTimestamp != nil {
			one.removed.Do(func() { go s.remove(ctx, c.Name) })
		} else if c.Status == nil || c.Status.CreationTime == nil {
			one.cut.Do(func() { go s.cut(ctx, c) })
		}
	})
}

func (s *storage) cut(ctx context.Context, c *snapv1.VolumeSnapshotContent) {
	if !pause(ctx, s.o.cut) {
		return
	}
	status := map[string]any{"snapshotHandle": "fleet-" + string(c.UID), "creationTime": time.Now().UnixNano(), "readyToUse": false, "restoreSize": 1 << 30}
	s.patch(ctx, c.Name, status)
	if pause(ctx, s.o.ready) {
		s.patch(ctx, c.Name, map[string]any{"readyToUse": true})
	}
}

func pause(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}

// patch writes into a content's status; a sidecar tries again, and so does this.
func (s *storage) patch(ctx context.Context, name string, status map[string]any) {
	text, err := json.Marshal(map[string]any{"status": status})
	if err != nil {
		return
	}
	for range 5 {
		o := &snapv1.VolumeSnapshotContent{}
		o.Name = name
		err := s.client.Status().Patch(ctx, o, client.RawPatch(types.MergePatchType, text))
		if client.IgnoreNotFound(err) == nil || !pause(ctx, time.Second) {
			return
		}
	}
}

// remove lets a content go: the storage has deleted its snapshot.
func (s *storage) remove(ctx context.Context, name string) {
	for range 5 {
		o := &snapv1.VolumeSnapshotContent{}
		o.Name = name
		err := s.client.Patch(ctx, o, client.RawPatch(types.MergePatchType, []byte(`{"metadata":{"finalizers":null}}`)))
		if client.IgnoreNotFound(err) == nil || !pause(ctx, time.Second) {
			return
		}
	}
}

// contents counts those that are there.
func (s *storage) contents(ctx context.Context) ([]snapv1.VolumeSnapshotContent, error) {
	var list snapv1.VolumeSnapshotContentList
	if err := s.client.List(ctx, &list); err != nil {
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
