package served

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/watch"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
)

var noRight = apierrors.NewForbidden(schema.GroupResource{Resource: "pods"}, "", errors.New("no"))

// granted is a client that may read what is in the namespaces given, and nothing else
// that is in one.
func granted(t *testing.T, objects []client.Object, namespaces ...string) client.WithWatch {
	t.Helper()
	scheme := runtime.NewScheme()
	if err := clientgoscheme.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	mapper := meta.NewDefaultRESTMapper(nil)
	for kind, scope := range map[string]meta.RESTScope{"Pod": meta.RESTScopeNamespace, "Service": meta.RESTScopeNamespace, "PersistentVolume": meta.RESTScopeRoot, "Namespace": meta.RESTScopeRoot} {
		mapper.Add(corev1.SchemeGroupVersion.WithKind(kind), scope)
	}
	c := fake.NewClientBuilder().WithScheme(scheme).WithRESTMapper(mapper).WithObjects(objects...).Build()
	return interceptor.NewClient(c, interceptor.Funcs{
		List: func(ctx context.Context, inner client.WithWatch, list client.ObjectList, opts ...client.ListOption) error {
			o := &client.ListOptions{}
			o.ApplyOptions(opts)
			if _, wide := list.(*corev1.PersistentVolumeList); !wide && !slices.Contains(namespaces, o.Namespace) {
				return noRight
			}
			return inner.List(ctx, list, opts...)
		},
		Get: func(ctx context.Context, inner client.WithWatch, key client.ObjectKey, o client.Object, opts ...client.GetOption) error {
			if key.Namespace != "" && !slices.Contains(namespaces, key.Namespace) {
				return noRight
			}
			return inner.Get(ctx, key, o, opts...)
		},
	})
}

func TestNarrow(t *testing.T) {
	in := func(namespace, name string) metav1.ObjectMeta {
		return metav1.ObjectMeta{Namespace: namespace, Name: name, Labels: map[string]string{"n": name}}
	}
	objects := []client.Object{
		&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "other"}},
		&corev1.Pod{ObjectMeta: in("a", "1")}, &corev1.Pod{ObjectMeta: in("a", "2")}, &corev1.Pod{ObjectMeta: in("b", "1")}, &corev1.Pod{ObjectMeta: in("other", "1")},
		&corev1.Service{ObjectMeta: in("kube-system", "dns")}, &corev1.Service{ObjectMeta: in("b", "x")},
		&corev1.PersistentVolume{ObjectMeta: metav1.ObjectMeta{Name: "pv"}},
	}
	c := Narrow{WithWatch: granted(t, objects, "a", "b", "kube-system"), Namespaces: []string{"a", "b", "gone"}, More: map[string][]string{"Service": {"kube-system"}}}
	names := func(list client.ObjectList, opts ...client.ListOption) (all []string) {
		t.Helper()
		if err := c.List(t.Context(), list, opts...); err != nil {
			t.Fatal(err)
		}
		if list.GetContinue() != "" {
			t.Error("there is more")
		}
		items, err := meta.ExtractList(list)
		if err != nil {
			t.Fatal(err)
		}
		for _, i := range items {
			o, ok := i.(client.Object)
			if !ok {
				t.Fatalf("%T", i)
			}
			all = append(all, o.GetNamespace()+"/"+o.GetName())
		}
		return all
	}
	for what, tt := range map[string]struct {
		list client.ObjectList
		opts []client.ListOption
		want []string
	}{
		"all":                     {&corev1.PodList{}, nil, []string{"a/1", "a/2", "b/1"}},
		"some of all, in pages":   {&corev1.PodList{}, []client.ListOption{client.Limit(1), client.MatchingLabels{"n": "1"}}, []string{"a/1", "b/1"}},
		"of one":                  {&corev1.PodList{}, []client.ListOption{client.InNamespace("b")}, []string{"b/1"}},
		"of one that is gone":     {&corev1.PodList{}, []client.ListOption{client.InNamespace("gone")}, nil},
		"what is read elsewhere":  {&corev1.ServiceList{}, nil, []string{"b/x", "kube-system/dns"}},
		"what is in no namespace": {&corev1.PersistentVolumeList{}, nil, []string{"/pv"}},
	} {
		if got := names(tt.list, tt.opts...); !slices.Equal(got, tt.want) {
			t.Errorf("%s: %v, want %v", what, got, tt.want)
		}
	}
	if err := c.List(t.Context(), &corev1.PodList{}, client.InNamespace("other")); !apierrors.IsForbidden(err) {
		t.Errorf("a namespace that is there and none of this controller's: %v", err)
	}
	for key, is := range map[client.ObjectKey]func(error) bool{
		{Namespace: "gone", Name: "1"}:  apierrors.IsNotFound,
		{Namespace: "other", Name: "1"}: apierrors.IsForbidden,
		{Namespace: "a", Name: "3"}:     apierrors.IsNotFound,
		{Namespace: "a", Name: "1"}:     func(err error) bool { return err == nil },
	} {
		if err := c.Get(t.Context(), key, &corev1.Pod{}); !is(err) {
			t.Errorf("%s: %v", key, err)
		}
	}
	// What fails otherwise is no answer.
	broken := Narrow{WithWatch: interceptor.NewClient(granted(t, nil, "a"), interceptor.Funcs{List: func(context.Context, client.WithWatch, client.ObjectList, ...client.ListOption) error {
		return apierrors.NewServiceUnavailable("away")
	}}), Namespaces: []string{"a"}}
	if err := broken.List(t.Context(), &corev1.PodList{}); !apierrors.IsServiceUnavailable(err) {
		t.Errorf("an API server that was away: %v", err)
	}
}

// rightless is an API server that grants and withdraws the right to read.
type rightless struct {
	may   chan bool
	now   bool
	lists int
	watch *watch.FakeWatcher
}

func (r *rightless) ListWithContext(context.Context, metav1.ListOptions) (runtime.Object, error) {
	select {
	case r.now = <-r.may:
	default:
	}
	r.lists++
	if !r.now {
		return nil, noRight
	}
	return &corev1.PodList{Items: []corev1.Pod{{ObjectMeta: metav1.ObjectMeta{Namespace: "a", Name: "x"}}}}, nil
}

func (r *rightless) WatchWithContext(_ context.Context, options metav1.ListOptions) (watch.Interface, error) {
	if !r.now {
		return nil, noRight
	}
	if options.SendInitialEvents != nil {
		return nil, apierrors.NewInvalid(schema.GroupKind{}, "", nil) // as a server does that does not know it
	}
	r.watch = watch.NewFake()
	return r.watch, nil
}

// An informer starts without rights, and has what is there once they are granted.
func TestPatient(t *testing.T) {
	server := &rightless{may: make(chan bool, 1)}
	p := &patient{inner: server, again: 10 * time.Millisecond}
	informer := toolscache.NewSharedIndexInformer(p, &corev1.Pod{}, 0, toolscache.Indexers{})
	got := make(chan string, 8)
	if _, err := informer.AddEventHandler(toolscache.ResourceEventHandlerFuncs{
		AddFunc:    func(o any) { got <- "added" },
		DeleteFunc: func(o any) { got <- "deleted" },
	}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		informer.RunWithContext(ctx)
	}()
	if !toolscache.WaitForCacheSync(ctx.Done(), informer.HasSynced) || len(informer.GetStore().List()) > 0 {
		t.Fatal("without rights it does not start, or knows something")
	}
	server.may <- true
	if e := <-got; e != "added" {
		t.Errorf("%s", e)
	}
	cancel()
	<-ended
}

func TestPause(t *testing.T) {
	p := newPause(time.Hour)
	p.Stop()
	p.Stop()
	if e, open := <-p.ResultChan(); open {
		t.Errorf("a pause that was ended says %v", e)
	}
	e := <-newPause(time.Nanosecond).ResultChan()
	if status, ok := e.Object.(*metav1.Status); !ok || e.Type != watch.Error || !apierrors.IsResourceExpired(&apierrors.StatusError{ErrStatus: *status}) {
		t.Errorf("a pause ends with %v", e)
	}
}

// Other errors are the informer's to see.
func TestPatientPasses(t *testing.T) {
	away := apierrors.NewServiceUnavailable("away")
	p := &patient{inner: toolscache.ToListerWatcherWithContext(&toolscache.ListWatch{
		ListWithContextFunc:  func(context.Context, metav1.ListOptions) (runtime.Object, error) { return nil, away },
		WatchFuncWithContext: func(context.Context, metav1.ListOptions) (watch.Interface, error) { return nil, away },
	}), again: time.Hour}
	if _, err := p.List(metav1.ListOptions{}); !errors.Is(err, away) {
		t.Error(err)
	}
	if _, err := p.Watch(metav1.ListOptions{}); !errors.Is(err, away) {
		t.Error(err)
	}
}
