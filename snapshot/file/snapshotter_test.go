package file

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/snapshot/cht"
	"github.com/medic/cht-backup/snapshot/file/tree"
	"github.com/medic/cht-backup/snapshot/reason"
)

func why(err error) string {
	if e := reason.Of(err); e != nil {
		return e.Reason
	}
	return ""
}

func TestCutAndCopy(t *testing.T) {
	w := newWorld(t, "couchdb-1", "couchdb-2")
	old := Tree{Name: "old", Owner: "another", Node: "couchdb-2", Time: time.Now().Add(-time.Hour)}
	w.repo.trees = []Tree{{Name: "older", Node: "couchdb-2"}, old}
	volumes := w.cut()
	for _, v := range volumes {
		if v.Method != api.MethodFile || v.CutTime == nil || v.Ready || v.File.Repository != "r1" || v.File.Files != 2 || v.File.Size.Value() != 8 || v.File.Complete {
			t.Errorf("cut: %+v %+v", v, v.File)
		}
	}
	if c := w.copiers["couchdb-1"]; c.surveys != 2 {
		t.Errorf("the files were looked at %d times before the hold", c.surveys)
	}
	if len(w.repo.began) != 0 {
		t.Error("it is copied before the cut is known to be good")
	}
	if err := w.Mark(t.Context(), w.backup, &w.backup.Status.Volumes[0], &w.backup.Status.Volumes[1]); err != nil {
		t.Fatal(err)
	}
	<-w.woken
	if err := w.finish(w.Snapshotter); err != nil {
		t.Fatal(err)
	}
	for _, v := range w.backup.Status.Volumes {
		if f := v.File; !f.Complete || f.Tree == "" || f.Sent.Value() != 20 || f.Size.Value() != 8 || len(f.Dropped) != 0 {
			t.Errorf("%s: %+v", v.Node, f)
		}
	}
	if len(w.repo.bases) != 1 || len(w.repo.bases[0]) != 1 || w.repo.bases[0][0] != "old" || w.repo.sessions != 0 {
		t.Errorf("bases %v, %d sessions left open", w.repo.bases, w.repo.sessions)
	}
	if c := w.copiers["couchdb-2"]; c.closed != 1 || c.letGo != 1 || len(w.jobs) != 0 {
		t.Errorf("closed %d times, let go %d times, %d jobs", c.closed, c.letGo, len(w.jobs))
	}
}

// A controller that was killed leaves copiers that hold the files, and perhaps trees.
func TestAnotherControllerGoesOn(t *testing.T) {
	w := newWorld(t, "couchdb-1", "couchdb-2")
	w.cut()
	// The first has committed one node, has written nothing down of it, and is gone.
	first := Tree{Name: "committed", Owner: string(w.backup.UID), Node: "couchdb-1", Time: time.Now()}
	w.repo.trees = []Tree{{Name: "earlier", Owner: string(w.backup.UID), Node: "couchdb-2", Time: time.Now().Add(-time.Minute)}, first}
	w.repo.content = map[string]tree.Tree{"committed": {Node: "couchdb-1", Files: []tree.File{{Meta: tree.Meta{Size: 7}}}, Dropped: []string{"x.view"}}}
	if err := w.finish(w.process()); err != nil {
		t.Fatal(err)
	}
	one, two := w.backup.Status.Volumes[0].File, w.backup.Status.Volumes[1].File
	if one.Tree != "committed" || one.Size.Value() != 7 || len(one.Dropped) != 1 {
		t.Errorf("what was committed: %+v", one)
	}
	if two.Tree == "earlier" || two.Tree == "" || len(w.repo.began) != 1 || len(w.repo.began[0]) != 1 {
		t.Errorf("what was not: %+v, begun for %v", two, w.repo.began)
	}
}

func TestWhatEndsACopy(t *testing.T) {
	for name, tt := range map[string]struct {
		hinder func(w *world)
		anew   bool // by another controller
		want   string
		says   string
	}{
		"the copier stops answering":   {func(w *world) { w.copiers["couchdb-2"].gone = true }, false, api.ReasonCopierLost, "couchdb-2"},
		"a shard reads short":          {func(w *world) { w.copiers["couchdb-2"].short = "data/shards/0/a.couch" }, false, api.ReasonSnapshotFailed, "a.couch"},
		"the copier was started anew":  {func(w *world) { w.copiers["couchdb-2"].measured = nil }, true, api.ReasonCopierLost, "couchdb-2"},
		"the copier let the files go":  {func(w *world) { w.copiers["couchdb-2"].failed = "no space" }, true, api.ReasonCopierLost, "no space"},
		"the copier's pod is gone":     {func(w *world) { w.deletePod("couchdb-2") }, true, api.ReasonCopierLost, "gone"},
		"the copier's pod has ended":   {func(w *world) { w.endPod("couchdb-2") }, true, api.ReasonCopierLost, "exit code 137"},
		"the files were not measured":  {func(w *world) { w.backup.Status.Volumes[1].File = nil }, false, api.ReasonCopierLost, "couchdb-2"},
		"a pod that runs, unreachable": {func(w *world) { w.copiers["couchdb-2"].gone = true }, true, "", "NetworkPolic"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, "couchdb-1", "couchdb-2")
			w.cut()
			tt.hinder(w)
			s := w.Snapshotter
			if tt.anew {
				s = w.process()
			}
			err := w.finish(s)
			if err == nil || why(err) != tt.want || !strings.Contains(err.Error(), tt.says) || tt.want != "" && !reason.Of(err).Final {
				t.Errorf("%v", err)
			}
			if err := w.finish(s); err == nil || why(err) != tt.want {
				t.Errorf("asked again: %v", err)
			}
			w.backup.Status.Phase = api.PhaseCleaningUp
			if left, err := s.Discard(t.Context(), w.backup); left != 0 || err != nil {
				t.Errorf("%d, %v", left, err)
			}
			for _, one := range w.repo.trees {
				if tt.want != "" && one.Node == "couchdb-1" && w.backup.Status.Volumes[1].File != nil {
					t.Errorf("left: %+v", one)
				}
			}
			if w.repo.sessions != 0 || len(s.jobs) != 0 {
				t.Errorf("%d sessions, %d jobs", w.repo.sessions, len(s.jobs))
			}
		})
	}
}

func (w *world) pod(service string) *corev1.Pod {
	pod := CopierPod(w.backup, cht.Node{Service: service}, "")
	if err := w.pods.Get(w.t.Context(), client.ObjectKeyFromObject(pod), pod); err != nil {
		w.t.Fatal(err)
	}
	return pod
}

func (w *world) deletePod(service string) {
	if err := w.pods.Delete(w.t.Context(), w.pod(service)); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) endPod(service string) {
	pod := w.pod(service)
	pod.Status.Phase = corev1.PodFailed
	pod.Status.ContainerStatuses[0].State = corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{ExitCode: 137, Reason: "OOMKilled"}}
	if err := w.pods.Status().Update(w.t.Context(), pod); err != nil {
		w.t.Fatal(err)
	}
}

func TestAViewThatReadsShortIsDroppedAndNamed(t *testing.T) {
	w := newWorld(t, "couchdb")
	w.copiers["couchdb"].short = "data/.shards/0/a.view"
	w.cut()
	if err := w.finish(w.Snapshotter); err != nil {
		t.Fatal(err)
	}
	if f := w.backup.Status.Volumes[0].File; f.Files != 1 || f.Size.Value() != 4 || len(f.Dropped) != 1 || f.Dropped[0] != "data/.shards/0/a.view" {
		t.Errorf("%+v", f)
	}
}

// A bucket that is away for a moment costs no backup.
func TestARepositoryThatIsAwayIsTriedAgain(t *testing.T) {
	if testing.Short() {
		t.Skip("waits for the pause of five seconds")
	}
	t.Parallel()
	w := newWorld(t, "couchdb")
	w.repo.failures = 1
	w.cut()
	w.start(w.of(w.backup, &w.backup.Status.Volumes[0]))
	<-w.woken
	if err := w.finish(w.Snapshotter); err != nil || len(w.repo.began) != 2 {
		t.Errorf("%v, begun %d times", err, len(w.repo.began))
	}
}

// A leader that is one no more has stopped to copy when its process says so.
func TestAStoppedLeaderCopiesNoMore(t *testing.T) {
	w := newWorld(t, "couchdb")
	w.copiers["couchdb"].block = make(chan struct{})
	w.cut()
	if err := w.Mark(t.Context(), w.backup, &w.backup.Status.Volumes[0]); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = w.Start(ctx)
	}()
	stop()
	<-ended
	w.repo.mu.Lock()
	defer w.repo.mu.Unlock()
	if w.repo.sessions != 0 || len(w.repo.trees) != 0 {
		t.Errorf("%d sessions, trees %v", w.repo.sessions, w.repo.trees)
	}
}

// Only so many are copied at once, whoever else has measured.
func TestOthersWaitForTheirTurn(t *testing.T) {
	w := newWorld(t, "couchdb")
	if !w.Turns.TryAcquire(1) {
		t.Fatal("no turn")
	}
	w.cut()
	v := &w.backup.Status.Volumes[0]
	for range 500 {
		if err := w.Refresh(t.Context(), w.backup, v); err != nil {
			t.Fatal(err)
		}
		if strings.Contains(v.Progress, "waits") {
			break
		}
		time.Sleep(2 * time.Millisecond)
	}
	if !strings.Contains(v.Progress, "waits") || len(w.repo.began) != 0 {
		t.Errorf("%q, begun %v", v.Progress, w.repo.began)
	}
	w.Turns.Release(1)
	if err := w.finish(w.Snapshotter); err != nil {
		t.Error(err)
	}
}

func TestDiscard(t *testing.T) {
	w := newWorld(t, "couchdb-1", "couchdb-2")
	var deleted []string
	w.Deleted = func(id string) { deleted = append(deleted, id) }
	w.cut()
	if err := w.finish(w.Snapshotter); err != nil {
		t.Fatal(err)
	}
	w.repo.trees = append(w.repo.trees, Tree{Name: "another's", Owner: "another", Node: "couchdb-1"})
	w.backup.Status.Phase = api.PhaseCompleted
	w.repo.away = errors.New("no route to host")
	if _, err := w.Discard(t.Context(), w.backup); err == nil || len(w.repo.trees) != 3 {
		t.Errorf("a complete backup is gone before its trees: %v, %v", err, w.repo.trees)
	}
	w.repo.away, w.repo.kept = nil, true
	if left, err := w.Discard(t.Context(), w.backup); left != 0 || err != nil {
		t.Errorf("a bucket that lets nothing be deleted holds up the deletion: %d, %v", left, err)
	}
	w.repo.kept = false
	if left, err := w.Discard(t.Context(), w.backup); left != 0 || err != nil || len(w.repo.trees) != 1 || w.repo.trees[0].Name != "another's" || len(deleted) != 2 {
		t.Errorf("%d, %v: %v; told %v", left, err, w.repo.trees, deleted)
	}
}

// What is measured and not good is let go, and nothing of it is ever copied.
func TestACutThatWasNoGoodIsLetGo(t *testing.T) {
	w := newWorld(t, "couchdb")
	w.cut()
	w.repo.away = errors.New("no route to host")
	w.backup.Status.Phase = api.PhaseCleaningUp
	if left, err := w.Discard(t.Context(), w.backup); left != 0 || err != nil || len(w.jobs) != 0 || w.copiers["couchdb"].closed != 1 || len(w.repo.began) != 0 {
		t.Errorf("%d, %v, %d jobs, closed %d times", left, err, len(w.jobs), w.copiers["couchdb"].closed)
	}
	w.copiers["couchdb"].measureErr = errors.New("too slow")
	w.repo.away = nil
	p, err := w.Prepare(t.Context(), w.backup, w.nodes)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.Make(t.Context()); why(err) != api.ReasonCopierLost || reason.Of(err).Final {
		t.Errorf("%v", err)
	}
	if p.Done(); w.copiers["couchdb"].closed != 2 || len(w.jobs) != 0 {
		t.Errorf("closed %d times, %d jobs", w.copiers["couchdb"].closed, len(w.jobs))
	}
}

func TestCopierPod(t *testing.T) {
	b := &api.Backup{}
	b.Namespace, b.Name, b.UID, b.Status.Attempt = "medic", "b", types.UID("0123456789"), 2
	b.Spec.ReadyTimeout.Duration = 2 * time.Hour
	pod := CopierPod(b, cht.Node{Service: "couchdb-1", Claim: cht.Claim{Name: "c"}, DataSubPath: "data", ConfigSubPath: "local.d", ConfigOnVolume: true, Pod: cht.Pod{NodeName: "m"}}, "i")
	c := pod.Spec.Containers[0]
	if s := c.SecurityContext; len(s.Capabilities.Add) != 1 || s.Capabilities.Add[0] != "DAC_OVERRIDE" || *s.AllowPrivilegeEscalation || !*s.ReadOnlyRootFilesystem || !c.VolumeMounts[0].ReadOnly || *pod.Spec.AutomountServiceAccountToken {
		t.Errorf("%+v", c)
	}
	if line := strings.Join(c.Command, " "); !strings.Contains(line, "--data data") || !strings.HasSuffix(line, "--config local.d") {
		t.Error(line)
	}
	if pod.Name != "cht-copier-01234567-2-couchdb-1" || pod.Spec.NodeName != "m" || *pod.Spec.ActiveDeadlineSeconds != int64(3*time.Hour/time.Second) || pod.Spec.RestartPolicy != corev1.RestartPolicyNever {
		t.Errorf("%s %+v", pod.Name, pod.Spec)
	}
	without := CopierPod(b, cht.Node{Service: "couchdb-1"}, "i")
	if line := strings.Join(without.Spec.Containers[0].Command, " "); strings.Contains(line, "--config") {
		t.Error(line)
	}
}
