package file

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"golang.org/x/sync/semaphore"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/snapshot/cht"
	"github.com/medic/cht-backup/snapshot/file/node"
	"github.com/medic/cht-backup/snapshot/file/transfer"
	"github.com/medic/cht-backup/snapshot/file/tree"
)

// world is a Snapshotter with everything around it played by the test.
type world struct {
	*Snapshotter
	t      *testing.T
	pods   client.WithWatch
	repo   *fakeRepo
	nodes  []cht.Node
	backup *api.Backup

	mu      sync.Mutex
	copiers map[string]*fakeCopier // by service
	woken   chan struct{}
}

func newWorld(t *testing.T, services ...string) *world {
	t.Helper()
	scheme := runtime.NewScheme()
	if err := errors.Join(clientgoscheme.AddToScheme(scheme), api.AddToScheme(scheme)); err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, repo: &fakeRepo{id: "r1"}, copiers: map[string]*fakeCopier{}, woken: make(chan struct{}, 100)}
	w.pods = interceptor.NewClient(fake.NewClientBuilder().WithScheme(scheme).WithStatusSubresource(&corev1.Pod{}).Build(), interceptor.Funcs{
		Create: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.CreateOption) error {
			if err := c.Create(ctx, o, opts...); err != nil {
				return err
			}
			pod, is := o.(*corev1.Pod)
			if !is {
				return fmt.Errorf("a %T was made", o)
			}
			pod.Status = corev1.PodStatus{Phase: corev1.PodRunning, ContainerStatuses: []corev1.ContainerStatus{{Name: Container, State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}}}}
			return c.Status().Update(ctx, pod)
		},
	})
	for _, s := range services {
		w.copiers[s] = &fakeCopier{world: w, service: s, files: []tree.Meta{{Path: "data/shards/0/a.couch", Size: 4}, {Path: "data/.shards/0/a.view", Size: 4}}}
		w.nodes = append(w.nodes, cht.Node{Service: s, Claim: cht.Claim{Name: s + "-claim0"}, DataSubPath: "data"})
	}
	w.backup = &api.Backup{ObjectMeta: metav1.ObjectMeta{Namespace: "medic", Name: "nightly", UID: "0e5f-7"}}
	w.backup.Spec.ReadyTimeout.Duration = time.Hour
	w.backup.Status.Attempt = 1
	w.Snapshotter = w.process()
	return w
}

// process is a controller that has just started.
func (w *world) process() *Snapshotter {
	s := &Snapshotter{Client: w.pods, Copiers: w, Repositories: w, Image: "cht-backup:test", Now: time.Now, Turns: semaphore.NewWeighted(1), Slots: semaphore.NewWeighted(4)}
	s.WakeWith(func(client.ObjectKey) { w.woken <- struct{}{} })
	return s
}

func (w *world) Connect(_ context.Context, pod *corev1.Pod, service string) (Copier, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	c := w.copiers[service]
	if c == nil || c.gone {
		return nil, errors.New("nobody answers")
	}
	c.pod = pod.Name
	return c, nil
}

func (w *world) For(context.Context, string) (Repository, error)  { return w.repo, nil }
func (w *world) Open(context.Context, string) (Repository, error) { return w.repo, nil }

// cut makes a cut of all nodes as an attempt does.
func (w *world) cut() []api.VolumeStatus {
	w.t.Helper()
	p, err := w.Prepare(w.t.Context(), w.backup, w.nodes)
	if err != nil {
		w.t.Fatal(err)
	}
	defer p.Done()
	if err := p.Warm(w.t.Context()); err != nil {
		w.t.Fatal(err)
	}
	volumes, err := p.Make(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	w.backup.Status.Volumes = volumes
	return volumes
}

// finish refreshes the backup's volumes until all are ready or an error comes.
func (w *world) finish(s *Snapshotter) error {
	w.t.Helper()
	for range 500 {
		ready := true
		var all []*api.VolumeStatus
		for i := range w.backup.Status.Volumes {
			all = append(all, &w.backup.Status.Volumes[i])
		}
		if err := s.Refresh(w.t.Context(), w.backup, all...); err != nil {
			return err
		}
		for _, v := range all {
			ready = ready && v.Ready
		}
		if ready {
			return nil
		}
		time.Sleep(2 * time.Millisecond)
	}
	w.t.Fatal("it is never ready")
	return nil
}

// fakeCopier is a copier of two files.
type fakeCopier struct {
	*world
	service, pod string
	files        []tree.Meta
	gone         bool // it answers no more
	block        chan struct{}
	short        string // the path of a file that reads short
	measured     *node.Measured
	failed       string
	closed, letGo,
	surveys int
	measureErr error
}

func (c *fakeCopier) Prepare(context.Context) (node.Survey, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.surveys++
	return node.Survey{}, nil
}

func (c *fakeCopier) Measure(context.Context) (node.Measured, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.measureErr != nil {
		return node.Measured{}, c.measureErr
	}
	c.measured = &node.Measured{Cut: "cut-of-" + c.pod, Files: len(c.files), Size: 8}
	return *c.measured, nil
}

func (c *fakeCopier) State(context.Context) (node.State, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return node.State{Measured: c.measured, Failed: c.failed}, nil
}

func (c *fakeCopier) Source(cut string, _ tree.HashKey) transfer.Source { return fakeSource{c, cut} }

func (c *fakeCopier) Close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed++
}

type fakeSource struct {
	c   *fakeCopier
	cut string
}

func (s fakeSource) Files(context.Context) ([]tree.Meta, error) {
	s.c.mu.Lock()
	defer s.c.mu.Unlock()
	if s.c.measured == nil || s.c.measured.Cut != s.cut {
		return nil, node.ErrNotMeasured
	}
	return s.c.files, nil
}

func (s fakeSource) Match(_ context.Context, _ int, known []tree.Piece) (int, error) {
	return len(known), nil
}

func (s fakeSource) Read(ctx context.Context, file int, _ int64, yield func(transfer.Frame) error) error {
	if s.c.block != nil {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-s.c.block:
		}
	}
	s.c.mu.Lock()
	gone, meta := s.c.gone, s.c.files[file]
	s.c.mu.Unlock()
	if gone {
		return errors.New("connection refused")
	}
	if meta.Path == s.c.short {
		return transfer.ErrShort
	}
	text := []byte(s.c.service[len(s.c.service)-1:] + meta.Path[len(meta.Path)-3:])
	return yield(transfer.Frame{Piece: tree.Piece{ID: tree.HashKey{}.IDOf(text), Length: int64(len(text))}, Data: text})
}

func (s fakeSource) Close(context.Context) error {
	s.c.mu.Lock()
	defer s.c.mu.Unlock()
	s.c.letGo++
	return nil
}

// fakeRepo is a repository in memory.
type fakeRepo struct {
	id       string
	mu       sync.Mutex
	trees    []Tree
	content  map[string]tree.Tree
	chunks   map[tree.ID]bool
	failures int // of commits that are still to come
	kept     bool
	away     error
	began    [][]string
	bases    [][]string
	sessions int // that are open
	collects int
	waiting  int
}

func (r *fakeRepo) ID() string            { return r.id }
func (r *fakeRepo) HashKey() tree.HashKey { return tree.HashKey{} }

func (r *fakeRepo) Tree(_ context.Context, name string) (tree.Tree, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.content[name], nil
}

func (r *fakeRepo) Read(context.Context, []tree.Chunk, func(transfer.Frame) error) error {
	return errors.ErrUnsupported
}

func (r *fakeRepo) Begin(_ context.Context, writer string, nodes, bases []string) (Session, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.began, r.bases = append(r.began, nodes), append(r.bases, bases)
	r.sessions++
	return &fakeSession{r, writer, time.Now()}, r.away
}

func (r *fakeRepo) Trees(context.Context) ([]Tree, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.trees), r.away
}

func (r *fakeRepo) DeleteTree(_ context.Context, name string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.kept {
		return ErrKept
	}
	r.trees = slices.DeleteFunc(r.trees, func(t Tree) bool { return t.Name == name })
	return nil
}

func (r *fakeRepo) Collect(context.Context) (Collected, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.collects++
	return Collected{Waiting: r.waiting}, r.away
}

type fakeSession struct {
	r      *fakeRepo
	writer string
	at     time.Time
}

func (s *fakeSession) HashKey() tree.HashKey             { return tree.HashKey{} }
func (s *fakeSession) Known(string, string) []tree.Chunk { return nil }
func (s *fakeSession) Sent() int64                       { return 0 }

func (s *fakeSession) Find(id tree.ID) (tree.Chunk, bool) {
	s.r.mu.Lock()
	defer s.r.mu.Unlock()
	return tree.Chunk{}, s.r.chunks[id]
}

func (s *fakeSession) Put(_ context.Context, f transfer.Frame) (tree.Chunk, error) {
	s.r.mu.Lock()
	defer s.r.mu.Unlock()
	if s.r.chunks == nil {
		s.r.chunks = map[tree.ID]bool{}
	}
	s.r.chunks[f.ID] = true
	return tree.Chunk{Piece: f.Piece, Stored: 10}, nil
}

func (s *fakeSession) Commit(_ context.Context, t tree.Tree) (string, error) {
	s.r.mu.Lock()
	defer s.r.mu.Unlock()
	if s.r.failures > 0 {
		s.r.failures--
		return "", errors.New("the bucket is away")
	}
	one := Tree{Name: fmt.Sprintf("%d_%s_%s", s.at.UnixNano(), s.writer, t.Node), Time: s.at, Owner: s.writer, Node: t.Node}
	if s.r.content == nil {
		s.r.content = map[string]tree.Tree{}
	}
	s.r.trees, s.r.content[one.Name] = append(s.r.trees, one), t
	return one.Name, nil
}

func (s *fakeSession) Close(context.Context) error {
	s.r.mu.Lock()
	defer s.r.mu.Unlock()
	s.r.sessions--
	return nil
}
