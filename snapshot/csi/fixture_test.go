package csi

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	snapv1 "github.com/kubernetes-csi/external-snapshotter/client/v8/apis/volumesnapshot/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/snapshot/cht"
)

const (
	ns     = "cht-kilifi"
	driver = "ebs.csi.aws.com"
)

var cutAt = time.Date(2026, 7, 1, 12, 0, 0, 123456000, time.UTC)

func scheme(t *testing.T) *runtime.Scheme {
	t.Helper()
	s := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{snapv1.AddToScheme, api.AddToScheme} {
		if err := add(s); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

// cluster is a fake API server. It gives each object it creates a UID, as a real
// one does, and hands each new VolumeSnapshot to onCreate, which plays the
// snapshot controller.
func cluster(t *testing.T, onCreate func(c client.Client, s *snapv1.VolumeSnapshot) error, objects ...client.Object) client.WithWatch {
	t.Helper()
	var uids atomic.Int32
	return fake.NewClientBuilder().WithScheme(scheme(t)).WithObjects(objects...).WithInterceptorFuncs(interceptor.Funcs{
		Create: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.CreateOption) error {
			o.SetUID(types.UID("uid-" + string('a'+uids.Add(1))))
			if err := c.Create(ctx, o, opts...); err != nil {
				return err
			}
			if s, ok := o.(*snapv1.VolumeSnapshot); ok && onCreate != nil {
				return onCreate(c, s)
			}
			return nil
		},
	}).Build()
}

func backup() *api.Backup {
	return &api.Backup{TypeMeta: metav1.TypeMeta{Kind: "Backup"}, ObjectMeta: metav1.ObjectMeta{Name: "nightly", Namespace: ns, UID: "0f3c2a5e-1111-2222-3333-444455556666"},
		Status: api.BackupStatus{Attempt: 1}}
}

func nodes(services ...string) (all []cht.Node) {
	for _, s := range services {
		all = append(all, cht.Node{Service: s, Claim: cht.Claim{Name: s + "-claim0", Driver: driver, Source: "a volume of CSI driver " + driver}})
	}
	return all
}

func class(name, driver string, isDefault bool) *snapv1.VolumeSnapshotClass {
	c := &snapv1.VolumeSnapshotClass{ObjectMeta: metav1.ObjectMeta{Name: name}, Driver: driver}
	if isDefault {
		c.Annotations = map[string]string{defaultClass: "true"}
	}
	return c
}

// contentOf is the content that the snapshot controller makes of a snapshot.
func contentOf(s *snapv1.VolumeSnapshot, status *snapv1.VolumeSnapshotContentStatus) *snapv1.VolumeSnapshotContent {
	return &snapv1.VolumeSnapshotContent{ObjectMeta: metav1.ObjectMeta{Name: contentName(s)},
		Spec: snapv1.VolumeSnapshotContentSpec{Driver: driver, DeletionPolicy: snapv1.VolumeSnapshotContentDelete,
			VolumeSnapshotRef: corev1.ObjectReference{Kind: "VolumeSnapshot", Namespace: s.Namespace, Name: s.Name, UID: s.UID}},
		Status: status}
}

func cutStatus(handle string, ready bool) *snapv1.VolumeSnapshotContentStatus {
	nanos, size := cutAt.UnixNano(), int64(100<<30)
	return &snapv1.VolumeSnapshotContentStatus{CreationTime: &nanos, SnapshotHandle: &handle, RestoreSize: &size, ReadyToUse: &ready}
}

func failedStatus(message string) *snapv1.VolumeSnapshotContentStatus {
	return &snapv1.VolumeSnapshotContentStatus{Error: &snapv1.VolumeSnapshotError{Message: &message}}
}

var errRefused = errors.New("the API server hiccups")

// failingAt is a cluster whose nth request fails, once.
func failingAt(t *testing.T, n int, objects ...client.Object) client.WithWatch {
	t.Helper()
	left := n
	hiccup := func() error {
		left--
		if left == -1 {
			return errRefused
		}
		return nil
	}
	return fake.NewClientBuilder().WithScheme(scheme(t)).WithObjects(objects...).WithInterceptorFuncs(interceptor.Funcs{
		Get: func(ctx context.Context, c client.WithWatch, key client.ObjectKey, o client.Object, opts ...client.GetOption) error {
			if err := hiccup(); err != nil {
				return err
			}
			return c.Get(ctx, key, o, opts...)
		},
		List: func(ctx context.Context, c client.WithWatch, list client.ObjectList, opts ...client.ListOption) error {
			if err := hiccup(); err != nil {
				return err
			}
			return c.List(ctx, list, opts...)
		},
		Patch: func(ctx context.Context, c client.WithWatch, o client.Object, patch client.Patch, opts ...client.PatchOption) error {
			if err := hiccup(); err != nil {
				return err
			}
			return c.Patch(ctx, o, patch, opts...)
		},
		Delete: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.DeleteOption) error {
			if err := hiccup(); err != nil {
				return err
			}
			return c.Delete(ctx, o, opts...)
		},
	}).Build()
}
