package command

import (
	"errors"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/cmd/kubectl-cht/internal/exit"
)

func (w *world) drill(t *testing.T) *api.Restore {
	t.Helper()
	var r api.Restore
	if err := w.Get(t.Context(), client.ObjectKey{Namespace: "medic", Name: "drill-20260301-120000"}, &r); err != nil {
		t.Fatal(err)
	}
	return &r
}

// several backups, of which the newest are not good.
func several() []client.Object {
	broken := goodIn("medic", "broken", noon.Add(-time.Hour))
	broken.Status.Conditions = append(broken.Status.Conditions, metav1.Condition{Type: api.ConditionVerified, Status: metav1.ConditionFalse, Reason: api.ReasonShardsMissing})
	running := goodIn("medic", "running", noon)
	running.Status = api.BackupStatus{Phase: api.PhaseCutting}
	newest := goodIn("medic", "newest-good", noon.Add(-2*time.Hour))
	newest.UID = "u-7"
	return []client.Object{goodIn("medic", "old", noon.Add(-30*time.Hour)), running, newest, broken, goodIn("other", "b", noon)}
}

func TestDrill(t *testing.T) {
	w := newWorld(t, interceptor.Funcs{}, several()...)
	w.mustRun(t, exit.Good, nil, "drill")
	r := w.drill(t)
	if s := r.Spec; s.Source != (api.BackupReference{Namespace: "medic", Name: "newest-good", UID: "u-7"}) || s.Drill == nil || s.Drill.KeepFailed != nil ||
		s.Verify != api.VerifySample || s.GoLive || s.Scope != api.ScopeInstance || s.Credentials != api.CredentialsKeep || s.Remap != nil || s.StepTimeout.Duration != 15*time.Minute || s.TimeToLive != nil {
		t.Errorf("%+v", s)
	}
	if !strings.Contains(w.er.String(), "the newest good backup is newest-good") || !strings.Contains(w.out.String(), "Backup medic/newest-good is proven") {
		t.Errorf("%s%s", w.out, w.er)
	}
}

func TestDrillNamed(t *testing.T) {
	w := newWorld(t, interceptor.Funcs{}, several()...)
	w.end = api.PhaseFailed
	// One that was found broken may be looked at again.
	w.mustRun(t, exit.Failed, []string{"restore medic/drill-20260301-120000 failed (PodNotReady)"}, "drill", "broken", "--verify", "full", "--keep-failed", "2h", "--storage-class", "cheap", "--step-timeout", "1h")
	r := w.drill(t)
	if s := r.Spec; s.Source.Name != "broken" || s.Verify != api.VerifyFull || s.Drill.KeepFailed.Duration != 2*time.Hour || s.Remap.StorageClassName != "cheap" || s.StepTimeout.Duration != time.Hour {
		t.Errorf("%+v", s)
	}
	if !strings.Contains(w.out.String(), "Backup medic/broken is NOT proven: PodNotReady") {
		t.Errorf("%s", w.out)
	}
}

func TestDrillRefuses(t *testing.T) {
	w := newWorld(t, interceptor.Funcs{}, several()...)
	w.mustRun(t, exit.Refused, []string{"backup medic/running is Cutting, not Completed"}, "drill", "running")
	w.mustRun(t, exit.Refused, []string{"there is no backup medic/none"}, "drill", "none")
	w.env.Namespace = func() (string, error) { return "empty", nil }
	w.mustRun(t, exit.Refused, []string{"there is no backup in namespace empty"}, "drill")
	w = newWorld(t, interceptor.Funcs{}, backupIn(api.PhaseFailed, "u"))
	w.mustRun(t, exit.Refused, []string{"none of the 1 backups in namespace medic is good"}, "drill")

	w.env.Connect = func() (client.WithWatch, error) { t.Error("a cluster was asked"); return nil, errors.New("no") }
	for _, tc := range []struct {
		args []string
		says string
	}{
		{[]string{"--verify", "Half"}, "Quick, Sample, Full"},
		{[]string{"--keep-failed", "10s"}, "give 1m0s to"},
		{[]string{"--step-timeout", "0s"}, "--step-timeout"},
		{[]string{"--ingress-host", "x.example.org"}, "a drill gets no ingress"},
		{[]string{"Bad"}, "cannot be used"},
		{[]string{"a", "b"}, "at most 1 arg"},
		{[]string{"--timeout", "-1s"}, "negative"},
	} {
		w.mustRun(t, exit.Usage, []string{tc.says}, append([]string{"drill"}, tc.args...)...)
	}
}
