package command

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"

	"filippo.io/age"
	"github.com/klauspost/compress/zstd"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/cmd/kubectl-cht/internal/exit"
	"github.com/medic/cht-backup/cmd/kubectl-cht/internal/extract"
	"github.com/medic/cht-backup/snapshot/couchdb"
	"github.com/medic/cht-backup/snapshot/file/repo"
	"github.com/medic/cht-backup/snapshot/file/transfer"
	filetree "github.com/medic/cht-backup/snapshot/file/tree"
)

// throwAway is a cluster in which pods run, and what is in them: a CouchDB that has what
// was written into its folder.
type throwAway struct {
	client client.Client

	lock sync.Mutex
	// files are by path, within the container.
	files map[string]string
	// maps are the shard maps that it was given.
	maps map[string]couchdb.ShardMap
	// knows are other nodes.
	knows []string
	// documents and deleted are what it counts and gives.
	documents []string
	deleted   int
	// failing is what every request for documents answers.
	failing int
	refuse  error
	stuck   *corev1.ContainerStateWaiting
	pod     *corev1.Pod
}

func (a *throwAway) hooks() interceptor.Funcs {
	return interceptor.Funcs{
		Create: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.CreateOption) error {
			if pod, is := o.(*corev1.Pod); is {
				if a.refuse != nil {
					return a.refuse
				}
				state := corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}
				if a.stuck != nil {
					state = corev1.ContainerState{Waiting: a.stuck}
				}
				pod.Status.InitContainerStatuses = []corev1.ContainerStatus{{Name: "fill", State: state}}
				a.client, a.pod = c, pod.DeepCopy()
			}
			return c.Create(ctx, o, opts...)
		},
	}
}

// Exec is `sh -c SCRIPT write FOLDER FILE SIZE`.
func (a *throwAway) Exec(ctx context.Context, namespace, name, _ string, command []string, stdin io.Reader, _ io.Writer) error {
	size, err := strconv.Atoi(command[len(command)-1])
	if err != nil {
		return err
	}
	content, err := io.ReadAll(io.LimitReader(stdin, int64(size)))
	if err != nil || len(content) != size {
		return fmt.Errorf("command ended with code 1: %d of %d bytes (%w)", len(content), size, err)
	}
	a.lock.Lock()
	defer a.lock.Unlock()
	path := command[len(command)-2]
	a.files[path] = string(content)
	if !strings.HasSuffix(path, "/.filled") {
		return nil
	}
	var pod corev1.Pod
	if err := a.client.Get(ctx, client.ObjectKey{Namespace: namespace, Name: name}, &pod); err != nil {
		return err
	}
	pod.Status.ContainerStatuses = []corev1.ContainerStatus{{Name: "couchdb", State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}}}
	return a.client.Status().Update(ctx, &pod)
}

func (a *throwAway) Transport(string, string, string) http.RoundTripper { return a }

// RoundTrip answers as CouchDB.
func (a *throwAway) RoundTrip(r *http.Request) (*http.Response, error) {
	w := httptest.NewRecorder()
	a.lock.Lock()
	defer a.lock.Unlock()
	user, password, _ := r.BasicAuth()
	if !strings.Contains(a.files["/opt/couchdb/etc/local.d/00-throw-away.ini"], user+" = "+password+"\n") {
		w.WriteHeader(http.StatusUnauthorized)
		return w.Result(), nil
	}
	answer := func(v any) { _ = json.NewEncoder(w).Encode(v) }
	switch path := r.URL.Path; {
	case path == "/_membership":
		nodes := append([]string{extract.Node}, a.knows...)
		answer(couchdb.Membership{AllNodes: nodes, ClusterNodes: nodes})
	case path == "/_node/"+extract.Node+"/_all_dbs":
		var there []string
		for file := range a.files {
			if shard, is := strings.CutSuffix(file, ".couch"); is {
				there = append(there, strings.TrimPrefix(shard, "/opt/couchdb/data/"))
			}
		}
		answer(there)
	case path == "/_node/_local/_dbs/_bulk_docs":
		var in struct{ Docs []couchdb.ShardMap }
		_ = json.NewDecoder(r.Body).Decode(&in)
		a.maps[in.Docs[0].ID] = in.Docs[0]
		answer([]map[string]any{{"ok": true, "id": in.Docs[0].ID}})
	case path == "/_dbs_info":
		answer([]map[string]any{{"key": "medic", "info": map[string]any{"doc_count": len(a.documents), "doc_del_count": a.deleted}}})
	case a.failing != 0 && path != "/medic":
		w.WriteHeader(a.failing)
	case path == "/medic/_all_docs":
		_, _ = fmt.Fprintf(w, `{"total_rows":%d,"offset":0,"rows":[`, len(a.documents))
		for i, doc := range a.documents {
			_, _ = fmt.Fprintf(w, "%s\n{\"id\":\"%d\",\"key\":\"%d\",\"value\":{},\"doc\":%s}", strings.Repeat(",", min(i, 1)), i, i, doc)
		}
		_, _ = w.WriteString("\n]}\n")
	case path == "/medic/report" && r.URL.Query().Has("open_revs"):
		_, _ = w.WriteString(`[{"ok":{"_id":"report","_rev":"3-c"}},{"ok":{"_id":"report","_rev":"2-d","_deleted":true}}]`)
	case path == "/medic/report" && r.URL.Query().Has("revs_info"):
		info := []map[string]string{{"rev": "3-c", "status": "available"}, {"rev": "2-b", "status": "available"}, {"rev": "1-a", "status": "missing"}}
		if r.URL.Query().Get("rev") == "2-d" {
			info = []map[string]string{{"rev": "2-d", "status": "deleted"}, {"rev": "1-a", "status": "missing"}}
		}
		answer(map[string]any{"_revs_info": info})
	case path == "/medic/report":
		answer(map[string]string{"_id": "report", "_rev": r.URL.Query().Get("rev")})
	case path == "/medic":
		if a.maps["medic"].ID == "" {
			w.WriteHeader(http.StatusNotFound)
		}
		answer(map[string]string{"db_name": "medic"})
	default:
		w.WriteHeader(http.StatusNotFound)
	}
	return w.Result(), nil
}

// shards writes a backup whose repository has files of these paths, each with its own
// path for content.
func (c *offsiteCatalog) shards(t *testing.T, paths ...string) {
	t.Helper()
	key, err := repo.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	recipient, err := age.ParseX25519Recipient(c.recipient)
	if err != nil {
		t.Fatal(err)
	}
	if err := repo.Create(t.Context(), c.bucket.Objects(), "repo-1", key, recipient); err != nil {
		t.Fatal(err)
	}
	r, err := repo.Open(t.Context(), c.bucket.Objects(), "repo-1", key, repo.Options{})
	if err != nil {
		t.Fatal(err)
	}
	s, err := r.Begin(t.Context(), "uid-1", []string{"couchdb"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	packer, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	var files []filetree.File
	for _, path := range paths {
		plain := []byte(path)
		chunk, err := s.Put(t.Context(), transfer.Frame{Piece: filetree.Piece{ID: r.HashKey().IDOf(plain), Length: int64(len(plain))}, Data: packer.EncodeAll(plain, nil)})
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, filetree.File{Meta: filetree.Meta{Path: path, Size: int64(len(plain)), Mode: 0o644}, Chunks: []filetree.Chunk{chunk}})
	}
	name, err := s.Commit(t.Context(), filetree.Tree{Node: "couchdb", Files: files})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	record := fullRecord("medic", "nightly-1", "uid-1", day(1))
	n := &record.Nodes[0]
	n.Method, n.Driver, n.SnapshotHandle = api.MethodFile, "", ""
	n.File = &api.FileVolume{Repository: "repo-1", Tree: name, Files: 3, Complete: true}
	c.put(t, record, "one", true)
}

// someShards are a whole database, and other files.
var someShards = []string{
	"config/docker.ini", "data/.shards/00000000-7fffffff/medic.1700000000_design/mrview/a.view", "data/_dbs.couch", "data/shards/00000000-7fffffff/medic-sentinel.1700000000.couch",
	"data/shards/00000000-7fffffff/medic.1700000000.couch", "data/shards/80000000-ffffffff/medic.1700000000.couch.compact",
}

func newThrowAway(t *testing.T) (*world, *throwAway, *offsiteCatalog) {
	t.Helper()
	a := &throwAway{files: map[string]string{}, maps: map[string]couchdb.ShardMap{}, deleted: 1}
	for i := range 7 { // as fullRecord counts
		a.documents = append(a.documents, fmt.Sprintf("{\"_id\":\"%d\",\n \"of\":\"medic\"}", i))
	}
	w, c := newWorld(t, a.hooks()), newCatalog(t)
	w.env.Pods = func() (extract.Pods, error) { return a, nil }
	c.shards(t, someShards...)
	return w, a, c
}

// podsLeft counts the pods that are there.
func (w *world) podsLeft(t *testing.T) int {
	t.Helper()
	var pods corev1.PodList
	if err := w.List(t.Context(), &pods); err != nil {
		t.Fatal(err)
	}
	return len(pods.Items)
}

func TestRepoGet(t *testing.T) {
	w, a, c := newThrowAway(t)
	w.mustRun(t, exit.Good, nil, "repo", "get", c.url+"/medic/nightly-1", "medic", "-i", c.key)
	lines := strings.Split(strings.TrimSpace(w.out.String()), "\n")
	if len(lines) != 7 || lines[6] != `{"_id":"6","of":"medic"}` {
		t.Errorf("%q", lines)
	}
	if got := a.files["/opt/couchdb/data/shards/80000000-ffffffff/medic.1700000000.couch"]; got != someShards[5] {
		t.Errorf("what compaction had not renamed yet is in the pod as %q", got)
	}
	if n := len(a.files); n != 4 { // two shards, the settings, and the sign to start
		t.Errorf("%d files were written: %v", n, a.files)
	}
	m := a.maps["medic"]
	if m.ShardFile("80000000-ffffffff") != "shards/80000000-ffffffff/medic.1700000000" || len(m.ByNode[extract.Node]) != 2 || len(m.ByNode) != 1 {
		t.Errorf("%+v", m)
	}
	if a.pod.Namespace != "medic" || a.pod.Spec.Containers[0].Image != "public.ecr.aws/medic/cht-couchdb:5.0.0" || w.podsLeft(t) != 0 {
		t.Errorf("%+v, %d left", a.pod, w.podsLeft(t))
	}
	for _, says := range []string{"7 documents of database medic; 1 deleted", "pod medic/cht-repo-get-"} {
		if !strings.Contains(w.er.String(), says) {
			t.Errorf("%q is not said: %s", says, w.er)
		}
	}
	password, _, _ := strings.Cut(strings.SplitAfter(a.files["/opt/couchdb/etc/local.d/00-throw-away.ini"], " = ")[1], "\n")
	if raw, err := json.Marshal(a.pod); err != nil || strings.Contains(string(raw)+w.er.String()+w.out.String(), password) {
		t.Errorf("the password can be read (%v)", err)
	}

	w.mustRun(t, exit.Good, nil, "repo", "get", c.url+"/medic", "medic", "-i", c.key, "--doc", "report", "--image", "other:1")
	if got := w.out.String(); got != `{"_id":"report","_rev":"3-c"}`+"\n"+`{"_id":"report","_rev":"2-d","_deleted":true}`+"\n"+`{"_id":"report","_rev":"2-b"}`+"\n" {
		t.Error(got)
	}
	if !strings.Contains(w.er.String(), "2 leaf revisions, 1 earlier ones; of 1 more") || a.pod.Spec.Containers[0].Image != "other:1" {
		t.Errorf("%s %+v", w.er, a.pod.Spec)
	}
}

// What is told of a database that is not as it was counted, and what fails, leaves no pod.
func TestRepoGetTrouble(t *testing.T) {
	forbidden := apierrors.NewForbidden(corev1.Resource("pods"), "x", errors.New("violates PodSecurity"))
	for name, tt := range map[string]struct {
		how  func(*testing.T, *throwAway, *offsiteCatalog)
		args []string
		code exit.Code
		says string
		told string
	}{
		"fewer":       {how: func(_ *testing.T, a *throwAway, _ *offsiteCatalog) { a.documents = a.documents[:6] }, code: exit.Trouble, says: "not what was counted", told: "has 7 documents (deleted ones included), at least 8"},
		"more":        {how: func(_ *testing.T, a *throwAway, _ *offsiteCatalog) { a.deleted = 9 }, code: exit.Trouble, told: "at most 8"},
		"a neighbour": {how: func(_ *testing.T, a *throwAway, _ *offsiteCatalog) { a.knows = []string{"couchdb@couchdb-1.medic"} }, code: exit.Failed, says: "it knows couchdb@couchdb-1.medic, couchdb@couchdb-1.medic; nothing was asked of it"},
		"no image": {how: func(_ *testing.T, a *throwAway, _ *offsiteCatalog) {
			a.stuck = &corev1.ContainerStateWaiting{Reason: "ImagePullBackOff", Message: "no such image"}
		}, code: exit.Failed, says: "ImagePullBackOff: no such image"},
		"refused":  {how: func(_ *testing.T, a *throwAway, _ *offsiteCatalog) { a.refuse = forbidden }, code: exit.Refused, says: "violates PodSecurity"},
		"broken":   {how: func(_ *testing.T, a *throwAway, _ *offsiteCatalog) { a.failing = 500 }, code: exit.Failed, says: "what was printed is not whole"},
		"no doc":   {args: []string{"--doc", "none"}, code: exit.Refused, says: "has no document none"},
		"too fast": {args: []string{"--timeout", "1s"}, code: exit.Usage, says: "too short"},
	} {
		t.Run(name, func(t *testing.T) {
			w, a, c := newThrowAway(t)
			if tt.how != nil {
				tt.how(t, a, c)
			}
			w.mustRun(t, tt.code, []string{tt.says}, append([]string{"repo", "get", c.url + "/medic/nightly-1", "medic", "-i", c.key}, tt.args...)...)
			if !strings.Contains(w.er.String(), tt.told) {
				t.Errorf("%q is not told: %s", tt.told, w.er)
			}
			if w.podsLeft(t) != 0 {
				t.Error("a pod is left")
			}
			if a.knows != nil && len(a.maps) > 0 {
				t.Error("a CouchDB that belongs to somebody was given a shard map")
			}
		})
	}
}

// Nothing is made in a cluster for what cannot be.
func TestRepoGetRefused(t *testing.T) {
	w, a, c := newThrowAway(t)
	c.put(t, fullRecord("medic", "snapshots", "uid-2", day(2)), "one", true)
	unknown := fullRecord("other", "nightly-1", "uid-3", day(2))
	unknown.Images = nil
	unknown.Nodes[0].File = &api.FileVolume{Repository: "repo-1", Tree: "20260201T013000.000000Z_uid-3_couchdb", Complete: true}
	c.put(t, unknown, "one", true)
	for _, tt := range []struct {
		backup, database string
		says             string
	}{
		{"medic/nightly-1", "medic-sentine", "no database medic-sentine in it; the nearest names are: medic-sentinel, medic"},
		{"medic/nightly-1", "medic-sentinel", "no node has a shard of the range 80000000-ffffffff"},
		{"medic/snapshots", "medic", "(method CSI) has no copy of the files of couchdb"},
		{"medic/nightly-9", "medic", "nightly-9"},
		{"other/nightly-1", "medic", "with --image"},
	} {
		w.mustRun(t, exit.Refused, []string{tt.says}, "repo", "get", c.url+"/"+tt.backup, tt.database, "-i", c.key)
	}
	if a.pod != nil {
		t.Errorf("a pod was made: %+v", a.pod)
	}
}

// Who is interrupted leaves no pod; where that fails it is said which one.
func TestRepoGetInterrupted(t *testing.T) {
	w, a, c := newThrowAway(t)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	a.stuck = &corev1.ContainerStateWaiting{Reason: "ContainerCreating"}
	w.env.Pods = func() (extract.Pods, error) {
		stop()
		return a, nil
	}
	code, said := w.run(ctx, "repo", "get", c.url+"/medic/nightly-1", "medic", "-i", c.key)
	if code != exit.Interrupted || w.podsLeft(t) != 0 {
		t.Errorf("%d: %s, %d pods left", code, said, w.podsLeft(t))
	}

	w, a, c = newThrowAway(t)
	hooks := a.hooks()
	hooks.Delete = func(context.Context, client.WithWatch, client.Object, ...client.DeleteOption) error {
		return errors.New("the API server went away")
	}
	failing := newWorld(t, hooks)
	failing.env.Pods = w.env.Pods
	failing.mustRun(t, exit.Trouble, []string{"is left", "kubectl delete pod -n medic cht-repo-get-"}, "repo", "get", c.url+"/medic/nightly-1", "medic", "-i", c.key)
}
