package status

import (
	"context"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/tools/events"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	api "github.com/medic/cht-backup/api/v1alpha1"
)

// Turn is a change of phase.
type Turn struct {
	Was, Is api.Phase
	// Conditions are those after it; Ready says why, and what is done.
	Conditions []metav1.Condition
	// Trouble says that the phase is there because something failed.
	Trouble bool
	// Quiet raises no event: the phase is not worth one, or another event tells of it.
	Quiet bool
}

// Turned tells of a change of phase that has been written down: one line in the log,
// and one event. An end is told with the reason of the condition Ready, as is a failure
// before another attempt; all else with the name of the phase.
func Turned(ctx context.Context, recorder events.EventRecorder, o client.Object, t Turn) {
	if t.Was == t.Is {
		return
	}
	why, message := api.ReasonProgressing, ""
	if c := meta.FindStatusCondition(t.Conditions, api.ConditionReady); c != nil {
		why, message = c.Reason, c.Message
	}
	log.FromContext(ctx).Info("phase", "phase", t.Is, "was", t.Was, "reason", why, "message", message)
	if t.Quiet {
		return
	}
	kind := corev1.EventTypeNormal
	if t.Trouble || t.Is == api.PhaseFailed {
		kind = corev1.EventTypeWarning
	}
	if why == api.ReasonProgressing {
		why = string(t.Is)
	}
	Event(recorder, o, kind, why, message)
}

// Buffer keeps events back until what they tell of has been written down.
type Buffer struct{ kept []func(events.EventRecorder) }

// Eventf keeps an event.
func (b *Buffer) Eventf(regarding, related runtime.Object, kind, why, action, note string, args ...any) {
	b.kept = append(b.kept, func(to events.EventRecorder) { to.Eventf(regarding, related, kind, why, action, note, args...) })
}

// Flush raises what was kept, in its order.
func (b *Buffer) Flush(to events.EventRecorder) {
	for _, raise := range b.kept {
		raise(to)
	}
	b.kept = nil
}
