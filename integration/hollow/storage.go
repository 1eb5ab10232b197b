package hollow

import (
	"context"
	"encoding/json"
	"sync"
	"time"

	snapv1 "github.com/kubernetes-csi/external-snapshotter/client/v8/apis/volumesnapshot/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// Storage plays a CSI sidecar and its driver: a content is cut some time after it was
// made, and ready some time after that.
type Storage struct {
	Client client.WithWatch
	Driver string
	// Cut is how long it takes to the point in time, Ready from there until the snapshot
	// can be restored from.
	Cut, Ready time.Duration
	// Now is the clock of the storage; nil for the machine's.
	Now func() time.Time

	mu   sync.Mutex
	seen map[types.UID]*content
}

// content is what was begun for one.
type content struct{ cut, removed sync.Once }

// Run works as long as the context lasts.
func (s *Storage) Run(ctx context.Context) {
	Follow(ctx, s.Client, func() client.ObjectList { return &snapv1.VolumeSnapshotContentList{} }, func(o client.Object) {
		c, ok := o.(*snapv1.VolumeSnapshotContent)
		if !ok || c.Spec.Driver != s.Driver {
			return
		}
		one := s.of(c.UID)
		if c.DeletionTimestamp != nil {
			one.removed.Do(func() { go s.remove(ctx, c) })
		} else if c.Status == nil || c.Status.CreationTime == nil {
			one.cut.Do(func() { go s.cut(ctx, c) })
		}
	})
}

// of gives what was begun for a content.
func (s *Storage) of(uid types.UID) *content {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.seen == nil {
		s.seen = map[types.UID]*content{}
	}
	if s.seen[uid] == nil {
		s.seen[uid] = &content{}
	}
	return s.seen[uid]
}

func (s *Storage) cut(ctx context.Context, c *snapv1.VolumeSnapshotContent) {
	if !pause(ctx, s.Cut) {
		return
	}
	now := time.Now
	if s.Now != nil {
		now = s.Now
	}
	status := map[string]any{"snapshotHandle": "hollow-" + string(c.UID), "creationTime": now().UnixNano(), "readyToUse": false, "restoreSize": 1 << 30}
	s.patch(ctx, c.Name, status)
	if pause(ctx, s.Ready) {
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
func (s *Storage) patch(ctx context.Context, name string, status map[string]any) {
	text, err := json.Marshal(map[string]any{"status": status})
	if err != nil {
		return
	}
	for range 5 {
		o := &snapv1.VolumeSnapshotContent{}
		o.Name = name
		err := s.Client.Status().Patch(ctx, o, client.RawPatch(types.MergePatchType, text))
		if client.IgnoreNotFound(err) == nil || !pause(ctx, time.Second) {
			return
		}
	}
}

// remove lets a content go: the storage has deleted its snapshot.
func (s *Storage) remove(ctx context.Context, c *snapv1.VolumeSnapshotContent) {
	for range 5 {
		o := &snapv1.VolumeSnapshotContent{}
		o.Name = c.Name
		err := s.Client.Patch(ctx, o, client.RawPatch(types.MergePatchType, []byte(`{"metadata":{"finalizers":null}}`)))
		if client.IgnoreNotFound(err) == nil {
			s.mu.Lock()
			delete(s.seen, c.UID)
			s.mu.Unlock()
			return
		}
		if !pause(ctx, time.Second) {
			return
		}
	}
}
