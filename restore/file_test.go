package restore

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/snapshot/catalog"
	"github.com/medic/cht-backup/snapshot/file/link"
	"github.com/medic/cht-backup/snapshot/file/node"
	"github.com/medic/cht-backup/snapshot/file/repo"
	"github.com/medic/cht-backup/snapshot/file/transfer"
	"github.com/medic/cht-backup/snapshot/file/tree"
	"github.com/medic/cht-backup/snapshot/reason"
)

// shelf are the catalog's repositories, and the fillers, in memory.
type shelf struct {
	trees  map[string]tree.Tree
	opened error
	mu     sync.Mutex
	// fails is what reading a chunk of that content ends with, once for each error.
	fails map[string][]error
	// sinks are what is on the volumes, by node.
	sinks map[string]*sink
	// lost is what connecting ends with.
	lost error
}

func newShelf() *shelf {
	s := &shelf{trees: map[string]tree.Tree{}, fails: map[string][]error{}, sinks: map[string]*sink{}}
	for _, n := range []string{"couchdb-1", "couchdb-2"} {
		t := tree.Tree{Node: n}
		for _, path := range []string{"data/_dbs.couch", "data/shards/00000000-ffffffff/medic.1.couch", "config/docker.ini"} {
			text := n + " " + path
			id := tree.HashKey{}.IDOf([]byte(text))
			t.Files = append(t.Files, tree.File{Meta: tree.Meta{Path: path, Size: int64(len(text))}, Chunks: []tree.Chunk{{Piece: tree.Piece{ID: id, Length: int64(len(text))}, Pack: text}}})
		}
		s.trees[treeOf(n)] = t
	}
	return s
}

func (s *shelf) Open(_ context.Context, id string) (transfer.Reader, error) {
	if id != "repo-1" {
		return nil, reason.Refuse(api.ReasonRepositoryKey, "the key of repository %s is not known", id)
	}
	return s, s.opened
}

func (s *shelf) HashKey() tree.HashKey { return tree.HashKey{} }

func (s *shelf) Tree(_ context.Context, name string) (tree.Tree, error) {
	t, ok := s.trees[name]
	if !ok {
		return t, fmt.Errorf("object trees/%s: %w", name, repo.ErrNotFound)
	}
	return t, nil
}

func (s *shelf) Read(_ context.Context, chunks []tree.Chunk, yield func(transfer.Frame) error) error {
	for _, c := range chunks {
		s.mu.Lock()
		var err error
		if all := s.fails[c.Pack]; len(all) > 0 {
			err, s.fails[c.Pack] = all[0], all[1:]
		}
		s.mu.Unlock()
		if err != nil {
			return err
		}
		if err := yield(transfer.Frame{Piece: c.Piece, Data: []byte(c.Pack)}); err != nil {
			return err
		}
	}
	return nil
}

func (s *shelf) Connect(_ context.Context, pod *corev1.Pod, container string) (transfer.Sink, func(), error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if container != fillContainer || s.lost != nil {
		return nil, nil, errors.Join(errors.New("connect"), s.lost)
	}
	n := pod.Labels[api.NodeLabel]
	if s.sinks[n] == nil {
		s.sinks[n] = &sink{files: map[string]string{}}
	}
	return s.sinks[n], func() {}, nil
}

// finished tells whether a node's volume has all.
func (s *shelf) finished(n string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.sinks[n] != nil && s.sinks[n].ended()
}

// sink is a volume in memory. It keeps what is whole.
type sink struct {
	mu    sync.Mutex
	metas []tree.Meta
	files map[string]string
	puts  int
	full  bool
	done  bool
}

func (s *sink) ended() bool { s.mu.Lock(); defer s.mu.Unlock(); return s.done }

func (s *sink) Begin(_ context.Context, files []tree.Meta, _ tree.HashKey) (done []int, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.metas = files
	for i, f := range files {
		if s.files[f.Path] != "" {
			done = append(done, i)
		}
	}
	return done, nil
}

func (s *sink) Put(_ context.Context, file int, next func() (transfer.Frame, error)) error {
	var whole bytes.Buffer
	for {
		f, err := next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		whole.Write(f.Data)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.full {
		return fmt.Errorf("write: %w", node.ErrNoSpace)
	}
	s.files[s.metas[file].Path] = whole.String()
	s.puts++
	return nil
}

func (s *sink) Finish(context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.done = true
	return nil
}

func treeOf(service string) string { return "20260701T120000.000000Z_u1_" + service }

func fileRecord(t *testing.T, change func(*catalog.Node)) catalog.Record {
	r := recordOf(t, "u1")
	for i := range r.Nodes {
		n := &r.Nodes[i]
		n.Method, n.Driver, n.SnapshotHandle = api.MethodFile, "", ""
		n.File = &api.FileVolume{Repository: "repo-1", Tree: treeOf(n.Service), Files: 3, Complete: true}
		if change != nil {
			change(n)
		}
	}
	return r
}

func snapshotToo(n *catalog.Node) { n.Method, n.Driver, n.SnapshotHandle = "", "d", "h-"+n.Service }

func localPath(change ...func(*storagev1.StorageClass)) *storagev1.StorageClass {
	c := &storagev1.StorageClass{ObjectMeta: metav1.ObjectMeta{Name: "local-path"}, Provisioner: "local"}
	for _, f := range change {
		f(c)
	}
	return c
}

func byDefault(c *storagev1.StorageClass) {
	c.Annotations = map[string]string{defaultClassAnnotation: "true"}
}

func dataFrom(d api.DataFrom) func(*api.Restore) { return func(r *api.Restore) { r.Spec.DataFrom = d } }

func inClass(name string) func(*api.Restore) {
	return func(r *api.Restore) { r.Spec.Remap = &api.Remap{StorageClassName: name} }
}

// fileWork is what the steps of a restore of files work on.
func fileWork(t *testing.T, restore *api.Restore, record catalog.Record) *work {
	w := workOf(t, restore)
	w.record = record
	restore.Status.Volumes = volumesOf(record)
	return w
}

func TestDataFrom(t *testing.T) {
	backup := func(n *catalog.Node) { n.File = nil; snapshotToo(n) }
	for _, tt := range []struct {
		name    string
		restore *api.Restore
		node    func(*catalog.Node)
		classes []client.Object
		// filled with a claim of that class; "" from the snapshot
		class string
		says  string // the refusal, or a warning
	}{
		{"a backup of files", restoreOf(), nil, []client.Object{gp3()}, "gp3", ""},
		{"and its class is not here", restoreOf(), nil, []client.Object{localPath(byDefault)}, "local-path", "gets the default class local-path"},
		{"nor a default one", restoreOf(), nil, []client.Object{localPath()}, "", "claim couchdb-1-claim0 was of storage class gp3, which this cluster does not have, nor has it a default one; name one with --storage-class"},
		{"any class may be asked for", restoreOf(inClass("local-path")), nil, []client.Object{gp3(), localPath()}, "local-path", ""},
		{"if it is there", restoreOf(inClass("locl-path")), nil, []client.Object{gp3(), localPath()}, "", "StorageClassMissing: storage class locl-path (spec.remap.storageClassName) does not exist"},
		{"from a snapshot it has not", restoreOf(dataFrom(api.DataSnapshot)), nil, []client.Object{gp3()}, "", "SnapshotMissing: backup cht/nightly was taken by method File and has no snapshot of couchdb-1, couchdb-2"},
		{"both: the snapshot is quicker", restoreOf(), snapshotToo, []client.Object{gp3()}, "", ""},
		{"both: as asked", restoreOf(dataFrom(api.DataFile)), snapshotToo, []client.Object{gp3()}, "gp3", ""},
		{"both: into a class that reads no snapshot", restoreOf(inClass("local-path")), snapshotToo, []client.Object{gp3(), localPath()}, "local-path", "couchdb-1: filled from the files in the catalog, since no volume can be made of the snapshot here: storage class local-path"},
		{"both: there is no such driver", restoreOf(), func(n *catalog.Node) { snapshotToo(n); n.Driver = "elsewhere" }, []client.Object{localPath(byDefault)}, "local-path", "filled from the files in the catalog"},
		{"both: cut by EC2, restored where there is none", restoreOf(), func(n *catalog.Node) {
			snapshotToo(n)
			n.Method, n.EBS = api.MethodEBS, &api.EBSVolume{Region: "eu-west-2"}
		}, []client.Object{localPath(byDefault)}, "local-path", "couchdb-1, couchdb-2: filled from the files in the catalog"},
		{"both: as asked, and it cannot be", restoreOf(inClass("local-path"), dataFrom(api.DataSnapshot)), snapshotToo, []client.Object{gp3(), localPath()}, "", "RemapInvalid"},
		{"files that are not all there", restoreOf(dataFrom(api.DataFile)), func(n *catalog.Node) { snapshotToo(n); n.File.Complete = false }, []client.Object{gp3()}, "", "BackupNotReady: backup cht/nightly has no whole copy of the files of couchdb-1, couchdb-2, and"},
		{"a snapshot, and files are asked for", restoreOf(dataFrom(api.DataFile)), backup, []client.Object{gp3()}, "", "BackupNotReady"},
		{"nothing at all", restoreOf(), func(n *catalog.Node) { n.File = nil }, []client.Object{gp3()}, "", "RecordInvalid"},
	} {
		b := newBench(t, tt.classes...)
		b.Repositories = newShelf()
		w := fileWork(t, tt.restore, fileRecord(t, tt.node))
		err := b.storage(t.Context(), w)
		said := strings.Join(w.cautions, "\n")
		if e := reason.Of(err); e != nil {
			said = e.Reason + ": " + err.Error()
		} else if err != nil {
			t.Errorf("%s: %v", tt.name, err)
		}
		if refused := err != nil; !strings.Contains(said, tt.says) || tt.says == "" && said != "" || refused && tt.class != "" {
			t.Errorf("%s: %q", tt.name, said)
		}
		if err != nil {
			continue
		}
		for _, v := range tt.restore.Status.Volumes {
			class := ""
			if v.Filled != nil {
				class = v.Filled.StorageClass
			}
			if class != tt.class || v.EBS != nil {
				t.Errorf("%s: %s of class %q, %+v", tt.name, v.Node, class, v.EBS)
			}
		}
	}
}

func TestFilesAreLookedAtBeforeAnythingIsMade(t *testing.T) {
	small := resource.MustParse("10")
	for _, tt := range []struct {
		name   string
		change func(*bench, *shelf, *work)
		why    string
		says   string
	}{
		{"no catalog", func(b *bench, _ *shelf, w *work) {
			b.Repositories, w.record.ImportedFrom = nil, "s3://here"
		}, api.ReasonNoCatalog, "set the controller's catalog (value controller.catalog.url of its chart) to s3://here"},
		{"another catalog", func(_ *bench, s *shelf, _ *work) {
			s.opened = reason.Refuse(api.ReasonNoCatalog, "it is not in s3://there")
		}, api.ReasonNoCatalog, "has its files in repository repo-1: it is not in s3://there; set the controller's catalog"},
		{"no key", func(_ *bench, _ *shelf, w *work) {
			for i := range w.record.Nodes {
				w.record.Nodes[i].File.Repository = "repo-2"
			}
		}, api.ReasonRepositoryKey, "the key of repository repo-2 is not known"},
		{"no tree", func(_ *bench, s *shelf, _ *work) { delete(s.trees, treeOf("couchdb-2")) }, api.ReasonRepositoryDamaged, "couchdb-2: read the list of its files, tree " + treeOf("couchdb-2") + " of repository repo-1"},
		{"the tree of another node", func(_ *bench, s *shelf, _ *work) { s.trees[treeOf("couchdb-2")] = s.trees[treeOf("couchdb-1")] }, api.ReasonRecordInvalid, `is of node "couchdb-1", and the record says that it is of couchdb-2`},
		{"no room", func(_ *bench, _ *shelf, w *work) { w.restore.Spec.Remap = &api.Remap{ClaimSize: &small} }, api.ReasonClaimTooSmall, "claim couchdb-1-claim0 would have 10, but the files of couchdb-1 have"},
		{"not reached", func(_ *bench, s *shelf, _ *work) { s.opened = errors.New("no route to host") }, "", "no route to host"},
	} {
		b, s := newBench(t, gp3(), &api.Backup{ObjectMeta: metav1.ObjectMeta{Namespace: source, Name: "nightly", UID: "u1"}}), newShelf()
		b.Repositories = s
		w := fileWork(t, restoreOf(), fileRecord(t, nil))
		tt.change(b, s, w)
		err := b.storage(t.Context(), w)
		var wait notYet
		if e := reason.Of(err); err == nil || e == nil && (tt.why != "" || !errors.As(err, &wait)) || e != nil && e.Reason != tt.why || !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%s: %v", tt.name, err)
		}
		var backup api.Backup
		if err := b.Client.Get(t.Context(), client.ObjectKey{Namespace: source, Name: "nightly"}, &backup); err != nil {
			t.Fatal(err)
		}
		if told := meta.IsStatusConditionFalse(backup.Status.Conditions, api.ConditionVerified); told != (tt.why == api.ReasonRepositoryDamaged) {
			t.Errorf("%s: told on the backup: %t", tt.name, told)
		}
	}
}

// A claim that is filled has no source; its pod has a filler first.
func TestFilledVolumeObjects(t *testing.T) {
	b := newBench(t, gp3(), localPath())
	b.Repositories = newShelf()
	w := fileWork(t, restoreOf(inClass("local-path")), fileRecord(t, nil))
	if err := b.storage(t.Context(), w); err != nil {
		t.Fatal(err)
	}
	n := w.volumes()[1]
	c := claim(w.restore, n)
	if c.Spec.DataSource != nil || *c.Spec.StorageClassName != "local-path" || c.Spec.VolumeName != "" {
		t.Errorf("%+v", c.Spec)
	}
	pod := w.preparePod(n, "image")
	if len(pod.Spec.InitContainers) != 1 {
		t.Fatalf("%+v", pod.Spec)
	}
	f := pod.Spec.InitContainers[0]
	if got := strings.Join(f.Command, " "); got != "/cht-backup fill serve --volume /volume --scratch /scratch --tree "+treeOf("couchdb-2")+" --data data --config local.d" {
		t.Error(got)
	}
	if f.Ports[0].ContainerPort != link.Port || len(f.VolumeMounts) != 2 || len(pod.Spec.Containers[0].VolumeMounts) != 1 || *f.SecurityContext.RunAsUser != 0 || len(f.SecurityContext.Capabilities.Add) != 3 {
		t.Errorf("%+v", f)
	}
	lines := strings.Join(planVolumes(w), "\n")
	if !strings.Contains(lines, "create claim couchdb-2-claim0 (1Gi, class local-path) and fill it with the 3 files of couchdb-2 (") || !strings.Contains(lines, "tree "+treeOf("couchdb-2")+" of repository repo-1") {
		t.Error(lines)
	}
}

// filler sets what is known of a pod's filler.
func (b *bench) filler(n string, phase corev1.PodPhase, id string, state corev1.ContainerState) {
	b.t.Helper()
	var pod corev1.Pod
	restore := restoreOf()
	if err := b.Client.Get(b.t.Context(), client.ObjectKey{Namespace: target, Name: fmt.Sprintf("cht-%s-%.8s-%s", rolePrepare, restore.UID, n)}, &pod); err != nil {
		b.t.Fatal(err)
	}
	pod.Status.Phase = phase
	pod.Status.InitContainerStatuses = []corev1.ContainerStatus{{Name: fillContainer, ContainerID: id, State: state}}
	if err := b.Client.Status().Update(b.t.Context(), &pod); err != nil {
		b.t.Fatal(err)
	}
}

var (
	runs   = corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}
	isFull = corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{}}
	killed = corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{ExitCode: 137, Message: "killed"}}
)

// fillBench is a restore whose claims and pods are made, and whose fillers run.
func fillBench(t *testing.T) (*bench, *shelf) {
	restore := restoreOf(phase(api.PhaseVolumes), inClass("local-path"))
	restore.Spec.DataFrom = api.DataFile
	record := fileRecord(t, nil)
	restore.Status.Volumes = volumesOf(record)
	for i := range restore.Status.Volumes {
		restore.Status.Volumes[i].Filled = &api.Filled{StorageClass: "local-path", Total: resource.MustParse("1000")}
	}
	b := newBench(t, gp3(), localPath(), restore, &api.Backup{ObjectMeta: metav1.ObjectMeta{Namespace: source, Name: "nightly", UID: "u1"}, Status: api.BackupStatus{Phase: api.PhaseCompleted}, Spec: api.BackupSpec{AllowedNamespaces: []string{"*"}}})
	s := newShelf()
	b.Repositories, b.Fillers, b.drills = s, s, newPlaces()
	if _, err := b.Records.Put(t.Context(), record, nil); err != nil {
		t.Fatal(err)
	}
	w := workOf(t, restore)
	w.record = record
	for _, n := range w.volumes() {
		for _, o := range []client.Object{claim(restore, n), w.preparePod(n, b.Image)} {
			if err := b.Client.Create(t.Context(), o); err != nil {
				t.Fatal(err)
			}
		}
		b.filler(n.Service, corev1.PodPending, "id-1", runs)
	}
	return b, s
}

// until reconciles until something holds.
func (b *bench) until(what string, holds func(*api.Restore) bool) *api.Restore {
	b.t.Helper()
	for range 500 {
		r, err := b.reconcile()
		if err != nil {
			b.t.Fatal(err)
		}
		if holds(r) {
			return r
		}
		time.Sleep(5 * time.Millisecond)
		b.now = b.now.Add(100 * time.Millisecond)
	}
	b.t.Fatalf("%s: it did not come", what)
	return nil
}

func TestFilling(t *testing.T) {
	b, s := fillBench(t)
	s.fails["couchdb-1 data/_dbs.couch"] = []error{errors.New("the bucket was away")}
	r := b.until("an error that may pass", func(r *api.Restore) bool { return strings.Contains(ready(r).Message, "the bucket was away") })
	if r.Status.Phase != api.PhaseVolumes || !strings.Contains(ready(r).Message, "claim couchdb-1-claim0 is filled") && !strings.Contains(ready(r).Message, "couchdb-1-claim0") {
		t.Errorf("%s: %s", r.Status.Phase, ready(r).Message)
	}
	b.until("filled", func(*api.Restore) bool { return s.finished("couchdb-1") && s.finished("couchdb-2") })
	if got := s.sinks["couchdb-1"].files["config/docker.ini"]; got != "couchdb-1 config/docker.ini" || s.sinks["couchdb-1"].puts != 3 {
		t.Errorf("%q in %d", got, s.sinks["couchdb-1"].puts)
	}
	b.filler("couchdb-1", corev1.PodSucceeded, "id-1", isFull)
	b.filler("couchdb-2", corev1.PodRunning, "id-1", isFull)
	// The rest is the prepare-volume of couchdb-2, for which a turn waits.
	b.filler("couchdb-2", corev1.PodSucceeded, "id-1", isFull)
	r = b.until("the next step", func(r *api.Restore) bool { return r.Status.Phase == api.PhaseObjects })
	for _, v := range r.Status.Volumes {
		if !v.Prepared || !v.Bound || v.Filled.Done.Cmp(v.Filled.Total) != 0 || v.Filled.Text != filledText || v.Filled.StorageClass != "local-path" {
			t.Errorf("%+v %+v", v, v.Filled)
		}
	}
	var pods corev1.PodList
	if err := b.Client.List(t.Context(), &pods); err != nil || len(pods.Items) > 0 {
		t.Errorf("%d pods are left, %v", len(pods.Items), err)
	}
}

func TestAFillerThatIsKilledIsMadeAgain(t *testing.T) {
	b, s := fillBench(t)
	s.fails["couchdb-1 config/docker.ini"] = []error{fmt.Errorf("%w: reset", link.ErrLost)}
	b.until("half of it", func(r *api.Restore) bool {
		return strings.Contains(ready(r).Message, "reset") && s.finished("couchdb-2")
	})
	b.filler("couchdb-1", corev1.PodFailed, "id-1", killed)
	r, err := b.reconcile()
	if err != nil || r.Status.Phase != api.PhaseVolumes || !strings.Contains(ready(r).Message, "whose filler ended (killed), to be made again") {
		t.Fatalf("%s: %s, %v", r.Status.Phase, ready(r).Message, err)
	}
	s.sinks["couchdb-1"].puts = 0
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	_, _ = b.Reconcile(ctx, request()) // it makes the pod
	b.filler("couchdb-1", corev1.PodPending, "id-2", runs)
	b.until("filled", func(*api.Restore) bool { return s.finished("couchdb-1") })
	if puts := s.sinks["couchdb-1"].puts; puts != 1 {
		t.Errorf("%d files were sent again", puts)
	}
}

func TestWhatEndsAFilling(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(*bench, *shelf)
		why    string
		says   string
	}{
		{"a chunk that is gone", func(_ *bench, s *shelf) {
			s.fails["couchdb-2 data/shards/00000000-ffffffff/medic.1.couch"] = []error{&repo.Damaged{Key: "v1/files/repo-1/packs/abc", Err: repo.ErrNotFound}}
		}, api.ReasonRepositoryDamaged, "couchdb-2: restore data/shards/00000000-ffffffff/medic.1.couch: object v1/files/repo-1/packs/abc"},
		{"no room", func(_ *bench, s *shelf) { s.sinks["couchdb-1"] = &sink{files: map[string]string{}, full: true} }, api.ReasonFillFailed, "restore into a larger claim"},
		{"the key is gone", func(_ *bench, s *shelf) { s.opened = reason.Refuse(api.ReasonRepositoryKey, "no key") }, api.ReasonRepositoryKey, "no key"},
		{"never reached", func(b *bench, s *shelf) {
			s.lost = errors.New("i/o timeout")
			b.until("it was tried", func(r *api.Restore) bool { return strings.Contains(ready(r).Message, "i/o timeout") })
			b.now = b.now.Add(2 * time.Minute)
		}, api.ReasonFillFailed, "nothing was filled for 2m"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b, s := fillBench(t)
			tt.change(b, s)
			r := b.until("the end", func(r *api.Restore) bool { return r.Status.Phase == api.PhaseFailed })
			if c := ready(r); c.Reason != tt.why || !strings.Contains(c.Message, tt.says) {
				t.Errorf("%s: %s", c.Reason, c.Message)
			}
			var pods corev1.PodList
			var claims corev1.PersistentVolumeClaimList
			if err := errors.Join(b.Client.List(t.Context(), &pods), b.Client.List(t.Context(), &claims)); err != nil || len(pods.Items)+len(claims.Items) > 0 {
				t.Errorf("%d pods and %d claims are left, %v", len(pods.Items), len(claims.Items), err)
			}
			var backup api.Backup
			if err := b.Client.Get(t.Context(), client.ObjectKey{Namespace: source, Name: "nightly"}, &backup); err != nil {
				t.Fatal(err)
			}
			if told := meta.IsStatusConditionFalse(backup.Status.Conditions, api.ConditionVerified); told != (tt.why == api.ReasonRepositoryDamaged) {
				t.Errorf("told on the backup: %t", told)
			}
		})
	}
}

// While it moves, a filling may take as long as it takes; a controller that starts anew
// begins to count anew.
func TestFillingIsBoundedByProgress(t *testing.T) {
	b, s := fillBench(t)
	s.lost = errors.New("i/o timeout")
	b.until("it was tried", func(r *api.Restore) bool { return strings.Contains(ready(r).Message, "i/o timeout") })
	b.now = b.now.Add(time.Hour)
	b.setUpFills()
	if r, err := b.reconcile(); err != nil || r.Status.Phase != api.PhaseVolumes {
		t.Errorf("%s, %v", r.Status.Phase, err)
	}
	if got := limit(&api.Restore{Status: api.RestoreStatus{Phase: api.PhaseVolumes}}); got != 0 {
		t.Errorf("volumes of snapshots are given %s", got)
	}
}

func TestAbortEndsFillings(t *testing.T) {
	b, s := fillBench(t)
	stuck := make(chan struct{})
	b.Fillers = blocked{stuck}
	_ = s
	b.until("it runs", func(r *api.Restore) bool { return strings.Contains(ready(r).Message, "it begins") })
	var r api.Restore
	if err := b.Client.Get(t.Context(), request().NamespacedName, &r); err != nil {
		t.Fatal(err)
	}
	r.Spec.Abort = true
	if err := b.Client.Update(t.Context(), &r); err != nil {
		t.Fatal(err)
	}
	b.until("the end", func(r *api.Restore) bool { return r.Status.Phase == api.PhaseFailed })
	<-stuck
	<-stuck
}

// blocked connects until it is stopped.
type blocked struct{ stopped chan struct{} }

func (f blocked) Connect(ctx context.Context, _ *corev1.Pod, _ string) (transfer.Sink, func(), error) {
	<-ctx.Done()
	f.stopped <- struct{}{}
	return nil, nil, ctx.Err()
}
