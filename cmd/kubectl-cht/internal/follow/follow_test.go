package follow

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	api "github.com/medic/cht-backup/api/v1alpha1"
)

var (
	key   = client.ObjectKey{Namespace: "medic", Name: "nightly"}
	quick = Options{Relist: time.Minute, Outage: 50 * time.Millisecond, Retry: time.Millisecond}
)

func phased(phase api.Phase) *api.Backup {
	return &api.Backup{ObjectMeta: metav1.ObjectMeta{Namespace: key.Namespace, Name: key.Name, UID: "u-1"}, Status: api.BackupStatus{Phase: phase}}
}

// complete ends the backup unseen by any watch.
func complete(c client.Client) {
	var b api.Backup
	if err := c.Get(context.Background(), key, &b); err != nil {
		panic(err)
	}
	b.Status.Phase = api.PhaseCompleted
	if err := c.Status().Update(context.Background(), &b); err != nil {
		panic(err)
	}
}

// world is a fake API server whose n-th watch is watches[n], given the means to
// send events; further watches stay silent.
func world(t *testing.T, o *api.Backup, listErr func(n int) error, watches ...func(c client.Client, w *watch.FakeWatcher)) client.WithWatch {
	t.Helper()
	scheme := runtime.NewScheme()
	if err := api.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	lists, opened := 0, 0
	builder := fake.NewClientBuilder().WithScheme(scheme).WithStatusSubresource(&api.Backup{}).
		WithIndex(&api.Backup{}, "metadata.name", func(o client.Object) []string { return []string{o.GetName()} }).
		WithInterceptorFuncs(interceptor.Funcs{
			List: func(ctx context.Context, c client.WithWatch, list client.ObjectList, opts ...client.ListOption) error {
				lists++
				if listErr != nil {
					if err := listErr(lists); err != nil {
						return err
					}
				}
				return c.List(ctx, list, opts...)
			},
			Watch: func(_ context.Context, c client.WithWatch, _ client.ObjectList, _ ...client.ListOption) (watch.Interface, error) {
				w := watch.NewFake()
				if opened < len(watches) {
					go watches[opened](c, w)
				}
				opened++
				return w, nil
			},
		})
	if o != nil {
		builder = builder.WithObjects(o)
	}
	return builder.Build()
}

func follow(t *testing.T, c client.WithWatch, timeout time.Duration) (phases string, err error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), timeout)
	defer cancel()
	var got []string
	err = Until(ctx, c, &api.BackupList{}, key, "u-1", quick, func(o client.Object) bool {
		phase := o.(*api.Backup).Status.Phase
		got = append(got, string(phase))
		return phase == api.PhaseCompleted
	})
	return strings.Join(got, " "), err
}

func TestUntil(t *testing.T) {
	other := phased(api.PhaseCompleted)
	other.Name = "other"
	successor := phased(api.PhaseCompleted)
	successor.UID = "u-2"
	expired := apierrors.NewResourceExpired("too old")
	for _, tc := range []struct {
		name    string
		object  *api.Backup
		listErr func(n int) error
		watches []func(client.Client, *watch.FakeWatcher)
		phases  string
		err     error
	}{
		{name: "ended before", object: phased(api.PhaseCompleted), phases: "Completed"},
		{name: "by events", object: phased(api.PhasePending), phases: "Pending Cutting Completed",
			watches: []func(client.Client, *watch.FakeWatcher){func(_ client.Client, w *watch.FakeWatcher) {
				w.Modify(other)
				w.Modify(phased(api.PhaseCutting))
				w.Modify(phased(api.PhaseCompleted))
			}}},
		{name: "the watch ends, the change came meanwhile", object: phased(api.PhasePending), phases: "Pending Completed",
			watches: []func(client.Client, *watch.FakeWatcher){func(c client.Client, w *watch.FakeWatcher) { complete(c); w.Stop() }}},
		{name: "the watch expires", object: phased(api.PhasePending), phases: "Pending Completed",
			watches: []func(client.Client, *watch.FakeWatcher){func(c client.Client, w *watch.FakeWatcher) { complete(c); w.Error(&expired.ErrStatus) }}},
		{name: "the server is away for a moment", object: phased(api.PhaseCompleted), phases: "Completed",
			listErr: func(n int) error {
				if n <= 2 {
					return apierrors.NewServiceUnavailable("restarting")
				}
				return nil
			}},
		{name: "deleted", object: phased(api.PhasePending), phases: "Pending", err: ErrGone,
			watches: []func(client.Client, *watch.FakeWatcher){func(_ client.Client, w *watch.FakeWatcher) { w.Delete(phased(api.PhasePending)) }}},
		{name: "replaced", object: phased(api.PhasePending), phases: "Pending", err: ErrGone,
			watches: []func(client.Client, *watch.FakeWatcher){func(_ client.Client, w *watch.FakeWatcher) { w.Modify(successor) }}},
		{name: "replaced before", object: successor, err: ErrGone},
		{name: "not there", err: ErrGone},
	} {
		t.Run(tc.name, func(t *testing.T) {
			phases, err := follow(t, world(t, tc.object, tc.listErr, tc.watches...), 10*time.Second)
			if phases != tc.phases || !errors.Is(err, tc.err) || tc.err == nil && err != nil {
				t.Errorf("saw %q, %v; want %q, %v", phases, err, tc.phases, tc.err)
			}
		})
	}
}

func TestUntilGivesUp(t *testing.T) {
	away := func(int) error { return apierrors.NewServiceUnavailable("down") }
	if _, err := follow(t, world(t, nil, away), 10*time.Second); err == nil || !strings.Contains(err.Error(), "has not answered for") {
		t.Errorf("outage: %v", err)
	}
	forbidden := func(int) error {
		return apierrors.NewForbidden(schema.GroupResource{Resource: "backups"}, "nightly", errors.New("no"))
	}
	if _, err := follow(t, world(t, nil, forbidden), 10*time.Second); !apierrors.IsForbidden(err) {
		t.Errorf("forbidden: %v", err)
	}
	if _, err := follow(t, world(t, phased(api.PhasePending), nil), 30*time.Millisecond); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("deadline: %v", err)
	}
}

// A watch that is silent because its connection died must not hide the end.
func TestSilentWatchIsNotTrusted(t *testing.T) {
	c := world(t, phased(api.PhasePending), nil, func(c client.Client, _ *watch.FakeWatcher) {
		complete(c)
	})
	options := quick
	options.Relist = 20 * time.Millisecond
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	err := Until(ctx, c, &api.BackupList{}, key, "u-1", options, func(o client.Object) bool { return o.(*api.Backup).Status.Phase == api.PhaseCompleted })
	if err != nil {
		t.Error(err)
	}
}
