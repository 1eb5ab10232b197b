package checkup

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	snapv1 "github.com/kubernetes-csi/external-snapshotter/client/v8/apis/volumesnapshot/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/snapshot/catalog/bucket"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// answering is an API server that answers questions about rights.
type answering struct {
	// denied are "verb resource" or "namespace verb resource".
	denied []string
	// lists tells whether what is granted is listed, refused what admission says of a
	// pod, by namespace.
	lists   bool
	refused map[string]error
	asked   int
}

func (a *answering) create(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.CreateOption) error {
	switch o := o.(type) {
	case *authorizationv1.SelfSubjectAccessReview:
		a.asked++
		at := o.Spec.ResourceAttributes
		resource := at.Resource
		if at.Subresource != "" {
			resource += "/" + at.Subresource
		}
		o.Status.Allowed = !slices.Contains(a.denied, at.Verb+" "+resource) && !slices.Contains(a.denied, at.Namespace+" "+at.Verb+" "+resource)
		return nil
	case *authorizationv1.SelfSubjectRulesReview:
		if a.lists {
			for _, n := range needs {
				o.Status.ResourceRules = append(o.Status.ResourceRules, authorizationv1.ResourceRule{APIGroups: []string{n.group}, Resources: n.resources, Verbs: n.verbs})
			}
		}
		return nil
	case *corev1.Pod:
		var options client.CreateOptions
		options.ApplyOptions(opts)
		if !slices.Contains(options.DryRun, metav1.DryRunAll) {
			return errors.New("this would be no trial")
		}
		return a.refused[o.Namespace]
	}
	return c.Create(ctx, o, opts...)
}

type store struct {
	url        string
	reach, try error
	keeps      bool
	tries      int
}

func (s *store) Shown() string               { return s.url }
func (s *store) Reach(context.Context) error { return s.reach }
func (s *store) Try(context.Context, string) (bucket.Tried, error) {
	s.tries++
	return bucket.Tried{Deletes: !s.keeps, Why: "locked"}, s.try
}

func looker(t *testing.T, a *answering, objects ...client.Object) *Looker {
	t.Helper()
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{clientgoscheme.AddToScheme, snapv1.AddToScheme, api.AddToScheme} {
		if err := add(scheme); err != nil {
			t.Fatal(err)
		}
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/version" {
			w.WriteHeader(http.StatusNotFound)
		}
		w.Header().Set("Date", noon.Format(http.TimeFormat))
	}))
	t.Cleanup(server.Close)
	c := fake.NewClientBuilder().WithScheme(scheme).WithObjects(objects...).WithInterceptorFuncs(interceptor.Funcs{Create: a.create}).Build()
	return &Looker{Client: c, Config: &rest.Config{Host: server.URL}, Version: "v1", Image: "i", Namespace: "system", Name: Name,
		Cluster: func(context.Context) (string, error) { return "c", nil }, Now: func() time.Time { return noon }}
}

func wrong(r Report) (all []string) {
	for _, c := range r.Checks {
		if !c.OK {
			all = append(all, c.Check+" "+c.Namespace+": "+c.Message)
		}
		if c.OK != (c.Next == "") && !c.Unknown {
			all = append(all, "a next step where none is needed, or none where one is: "+c.Message)
		}
	}
	return all
}

func plain() []client.Object {
	return []client.Object{&snapv1.VolumeSnapshotClass{ObjectMeta: metav1.ObjectMeta{Name: "loop"}, Driver: "loop"},
		&api.BackupSchedule{ObjectMeta: metav1.ObjectMeta{Namespace: "medic", Name: "nightly"}}, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "medic"}}}
}

func TestLook(t *testing.T) {
	security := apierrors.NewForbidden(schema.GroupResource{Resource: "pods"}, "f", errors.New(`violates PodSecurity "baseline:latest": non-default capabilities`))
	rights := apierrors.NewForbidden(schema.GroupResource{Resource: "pods"}, "f", errors.New(`User "u" cannot create resource "pods" in API group ""`))
	good := func() *store { return &store{url: "s3://b"} }
	for _, tt := range []struct {
		name       string
		a          answering
		objects    []client.Object
		namespaces []string
		catalog    *store
		recipients int
		now        time.Time
		want       []string
		narrow     bool
	}{
		{"all is well", answering{}, plain(), nil, good(), 1, noon, nil, false},
		{"some namespaces, and rights are listed", answering{lists: true}, plain(), []string{"medic"}, good(), 1, noon, nil, false},
		{"a right lacks in the cluster", answering{denied: []string{"list nodes", "create pods/exec"}}, plain(), nil, good(), 1, noon,
			[]string{"Permissions : the controller may not, in the cluster: create pods/exec (needed for holding writes during a cut); list nodes (needed for restores that choose a zone)"}, false},
		{"a right lacks in one namespace", answering{denied: []string{"medic delete pods"}}, plain(), []string{"medic"}, good(), 1, noon, []string{"Permissions medic: the controller may not, in namespace medic: delete pods"}, false},
		{"a right lacks in its own", answering{denied: []string{"system update configmaps"}}, plain(), []string{"medic"}, good(), 1, noon, []string{"Permissions system: the controller may not, in namespace system: update configmaps (needed for this report)"}, false},
		{"some namespaces, and no new ones", answering{denied: []string{"create namespaces", "delete namespaces"}}, plain(), []string{"medic"}, good(), 1, noon, nil, true},
		{"some namespaces, by rights in all", answering{denied: []string{"create namespaces"}}, plain(), []string{"medic"}, good(), 1, noon, []string{"Permissions : the controller may not, in the cluster: create namespaces"}, false},
		{"all namespaces, and no new ones", answering{denied: []string{"create namespaces"}}, plain(), nil, good(), 1, noon, []string{"Permissions : the controller may not, in the cluster: create namespaces"}, false},
		{"a namespace is not there", answering{}, plain(), []string{"medic", "typo"}, good(), 1, noon, []string{"NamespaceServed typo"}, false},
		{"the freezer is not admitted", answering{refused: map[string]error{"medic": security}}, plain(), nil, good(), 1, noon, []string{"FreezerAdmitted medic: the freezer pod is not admitted, so that quiesce Freeze fails and Auto takes Pause: pods \"f\" is forbidden: violates PodSecurity"}, false},
		{"nobody knows of the freezer", answering{refused: map[string]error{"medic": rights}}, plain(), nil, good(), 1, noon, []string{"FreezerAdmitted medic: pods \"f\" is forbidden: User"}, false},
		{"no catalog", answering{}, plain(), nil, nil, 0, noon, []string{"CatalogReachable : no catalog is configured"}, false},
		{"no recipient, on a volume", answering{}, plain(), nil, &store{url: "file:///c"}, 0, noon, []string{"CatalogOutside : the catalog file:///c is on a volume", "CatalogRecipients : no recipient"}, false},
		{"the catalog does not answer", answering{}, plain(), nil, &store{url: "s3://b", reach: errors.New("no such\nhost")}, 1, noon, []string{"CatalogReachable : the catalog cannot be used: no such host", "CatalogWritable : the catalog s3://b was not written to"}, false},
		{"the catalog is read-only", answering{}, plain(), nil, &store{url: "s3://b", try: errors.New("denied")}, 1, noon, []string{"CatalogWritable : the catalog cannot be written to: denied"}, false},
		{"the catalog keeps everything", answering{}, plain(), nil, &store{url: "s3://b", keeps: true}, 1, noon, nil, false},
		{"the clock is wrong", answering{}, plain(), nil, good(), 1, noon.Add(time.Minute), []string{"Clock : the API server's clock is 1m0s behind, compared"}, false},
		{"no class, and no catalog to copy files into", answering{}, plain()[1:], nil, nil, 1, noon, []string{"SnapshotClasses : there is no VolumeSnapshotClass at all", "CatalogReachable : no catalog is configured"}, false},
		{"no class", answering{}, plain()[1:], nil, good(), 1, noon, nil, false},
		{"two classes", answering{}, append(plain(), &snapv1.VolumeSnapshotClass{ObjectMeta: metav1.ObjectMeta{Name: "another"}, Driver: "loop"}), nil, good(), 1, noon, []string{"SnapshotClasses : which VolumeSnapshotClass is taken is not clear: loop has another, loop, of which 0"}, false},
		{"two classes, one marked", answering{}, append(plain(), &snapv1.VolumeSnapshotClass{ObjectMeta: metav1.ObjectMeta{Name: "another", Annotations: map[string]string{defaultClass: "true"}}, Driver: "loop"}), nil, good(), 1, noon, nil, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l := looker(t, &tt.a, tt.objects...)
			l.Narrow, l.Namespaces, l.Recipients, l.Now = tt.narrow, tt.namespaces, tt.recipients, func() time.Time { return tt.now }
			if tt.catalog != nil {
				l.Catalog = tt.catalog
			}
			got := wrong(l.Look(t.Context()))
			if len(got) != len(tt.want) {
				t.Fatalf("%q, want %q", got, tt.want)
			}
			for i := range got {
				if !strings.HasPrefix(got[i], tt.want[i]) {
					t.Errorf("%q, want %q", got[i], tt.want[i])
				}
			}
			if tt.a.lists && tt.a.asked > 60 {
				t.Errorf("%d questions, though what is granted was listed", tt.a.asked)
			}
		})
	}
}

func TestWithoutSnapshotKinds(t *testing.T) {
	l := looker(t, &answering{})
	l.Client = interceptor.NewClient(l.Client.(client.WithWatch), interceptor.Funcs{List: func(ctx context.Context, c client.WithWatch, list client.ObjectList, opts ...client.ListOption) error {
		if _, is := list.(*snapv1.VolumeSnapshotClassList); is {
			return apierrors.NewNotFound(schema.GroupResource{Resource: "volumesnapshotclasses"}, "")
		}
		return c.List(ctx, list, opts...)
	}})
	if got := l.snapshots(t.Context()); len(got) != 1 || got[0].OK || got[0].Check != SnapshotKinds {
		t.Errorf("%+v", got)
	}
}

// A bucket that keeps every version for months must not fill with trials.
func TestTheCatalogIsWrittenToOnceADay(t *testing.T) {
	l, s, now := looker(t, &answering{}), &store{url: "s3://b"}, noon
	l.Catalog, l.Now = s, func() time.Time { return now }
	for range 100 {
		now = now.Add(Interval)
		if got := l.write(t.Context(), s.url); !got.OK {
			t.Fatal(got)
		}
	}
	if s.tries != 1 {
		t.Errorf("written to %d times in 17 hours", s.tries)
	}
	now, s.try = now.Add(tryEvery), errors.New("denied")
	for range 3 {
		if got := l.write(t.Context(), s.url); got.OK {
			t.Fatal(got)
		}
	}
	if s.tries != 4 {
		t.Errorf("%d: while it fails, each look tries it", s.tries)
	}
}

func TestStartPublishesAndEnds(t *testing.T) {
	l := looker(t, &answering{}, plain()...)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- l.Start(ctx) }()
	var m corev1.ConfigMap
	for l.Client.Get(t.Context(), client.ObjectKey{Namespace: "system", Name: Name}, &m) != nil {
		select {
		case err := <-ended:
			t.Fatalf("it ended: %v", err)
		case <-t.Context().Done():
			t.Fatal("nothing was published")
		case <-time.After(time.Millisecond):
		}
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	r, err := Read(&m)
	if err != nil || r.Version != "v1" || !r.Time.Equal(noon) || len(r.Checks) < 5 {
		t.Errorf("%+v, %v", r, err)
	}
	// A second look replaces it; somebody else's ConfigMap is left alone.
	r.Version = "v2"
	if err := l.publish(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	if err := l.Client.Get(t.Context(), client.ObjectKeyFromObject(&m), &m); err != nil || !strings.Contains(m.Data[Key], `"v2"`) {
		t.Errorf("%v, %v", m.Data, err)
	}
	m.Labels = nil
	if err := l.Client.Update(t.Context(), &m); err != nil {
		t.Fatal(err)
	}
	if err := l.publish(t.Context(), r); err == nil || !strings.Contains(err.Error(), "somebody else's") {
		t.Errorf("%v", err)
	}
}

func TestHowSoonAgain(t *testing.T) {
	for _, tt := range []struct {
		r    Report
		want time.Duration
	}{
		{Report{Checks: []Check{{Check: Clock, OK: true}}}, Interval},
		{Report{Checks: []Check{{Check: FreezerAdmitted}, {Check: CatalogReachable}}}, Interval},
		{Report{Catalog: "s3://b", Checks: []Check{{Check: CatalogReachable}}}, soon},
		{Report{Checks: []Check{{Check: Permissions}}}, soon},
	} {
		if got := pause(tt.r); got != tt.want {
			t.Errorf("%+v: %s", tt.r, got)
		}
	}
}

func TestSkew(t *testing.T) {
	for _, tt := range []struct {
		name        string
		date        time.Time
		asked, came time.Duration
		wrong       bool
	}{
		{"the same", noon, 0, 0, false},
		{"within a second", noon, 900 * time.Millisecond, 950 * time.Millisecond, false},
		{"ten seconds", noon.Add(10 * time.Second), 0, 0, false},
		{"ahead", noon.Add(12 * time.Second), 0, 0, true},
		{"behind", noon.Add(-12 * time.Second), 0, 0, true},
		{"a slow answer tells less", noon.Add(20 * time.Second), 0, 30 * time.Second, false},
	} {
		if got := SkewOf(tt.date, noon.Add(tt.asked), noon.Add(tt.came)); got.Wrong() != tt.wrong {
			t.Errorf("%s: %+v", tt.name, got)
		}
	}
	if got := (Skew{Ahead: -90 * time.Second}).String(); got != "1m30s behind" {
		t.Error(got)
	}
}
