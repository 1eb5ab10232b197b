package status

import (
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/events"

	api "github.com/medic/cht-backup/api/v1alpha1"
)

func TestClip(t *testing.T) {
	if s := Clip(strings.Repeat("x", 40000)); len(s) > 1024 || !strings.HasPrefix(s, "xxx") {
		t.Errorf("%d bytes: an event's note holds 1024", len(s))
	}
	for in, want := range map[string]string{"short": "short", "two\n\tlines": "two\n\tlines", "é … 猫": "é … 猫",
		"\x1b[2J\x1b]0;title\x07gone\r\u009bx\u202eb": "·[2J·]0;title·gone··x·b"} {
		if s := Clip(in); s != want {
			t.Errorf("%q becomes %q", in, s)
		}
	}
}

// What is told of a change of phase.
func TestTurned(t *testing.T) {
	for _, tt := range []struct {
		name string
		t    Turn
		why  string // of the condition
		want string
	}{
		{"no change", Turn{Was: api.PhaseCutting, Is: api.PhaseCutting}, api.ReasonProgressing, ""},
		{"a step", Turn{Was: api.PhasePending, Is: api.PhasePreparing}, api.ReasonProgressing, "Normal Preparing words"},
		{"not worth an event", Turn{Was: api.PhasePreparing, Is: api.PhaseCutting, Quiet: true}, api.ReasonProgressing, ""},
		{"the way back", Turn{Was: api.PhaseSwapping, Is: api.PhaseRollingBack, Trouble: true}, api.ReasonProgressing, "Warning RollingBack words"},
		{"another attempt", Turn{Was: api.PhaseCutting, Is: api.PhaseCleaningUp, Trouble: true}, api.ReasonSnapshotFailed, "Warning SnapshotFailed words"},
		{"good", Turn{Was: api.PhaseFinishing, Is: api.PhaseCompleted}, api.ReasonCompleted, "Normal Completed words"},
		{"failed", Turn{Was: api.PhaseCleaningUp, Is: api.PhaseFailed}, api.ReasonReadyTimeout, "Warning ReadyTimeout words"},
		{"expired", Turn{Was: api.PhaseExpiring, Is: api.PhaseExpired}, api.ReasonExpired, "Normal Expired words"},
	} {
		recorder := events.NewFakeRecorder(2)
		tt.t.Conditions = []metav1.Condition{{Type: api.ConditionReady, Reason: tt.why, Message: "words"}}
		Turned(t.Context(), recorder, &api.Backup{}, tt.t)
		got := ""
		if len(recorder.Events) > 0 {
			got = <-recorder.Events
		}
		if got != tt.want || len(recorder.Events) > 0 {
			t.Errorf("%s: told %q, want %q", tt.name, got, tt.want)
		}
	}
}

func TestBuffer(t *testing.T) {
	var b Buffer
	Event(&b, &api.Backup{}, "Normal", "A", "50% done")
	Event(&b, &api.Backup{}, "Normal", "B", "b")
	recorder := events.NewFakeRecorder(3)
	b.Flush(recorder)
	b.Flush(recorder)
	if first, second := <-recorder.Events, <-recorder.Events; first != "Normal A 50% done" || second != "Normal B b" || len(recorder.Events) != 0 {
		t.Errorf("%q, %q", first, second)
	}
}
