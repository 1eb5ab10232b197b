// Package status writes the status of our kinds, and tells of what was written: the
// condition Ready, the patch, and for each change of phase one event and one line in
// the log.
// In: an object, its conditions and the words. Out: API calls. It decides nothing.
package status

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"unicode"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/events"
	"sigs.k8s.io/controller-runtime/pkg/client"

	api "github.com/medic/cht-backup/api/v1alpha1"
)

// longest message a condition and an event hold, in bytes.
const longest = 1000

// Clip shortens a message to what a condition and an event may hold, and takes out what
// would write elsewhere on the terminal of who reads it: part of it may be what a pod or a
// server of somebody else's has said.
func Clip(s string) string {
	if len(s) > longest {
		s = strings.ToValidUTF8(s[:longest], "") + " …" // never half a character
	}
	return strings.Map(func(c rune) rune {
		if c != '\n' && c != '\t' && (unicode.IsControl(c) || unicode.Is(unicode.Bidi_Control, c)) {
			return '·'
		}
		return c
	}, s)
}

// Set writes the condition Ready.
func Set(o client.Object, conditions *[]metav1.Condition, is metav1.ConditionStatus, why, message string) {
	meta.SetStatusCondition(conditions, metav1.Condition{Type: api.ConditionReady, Status: is, Reason: why, Message: Clip(message), ObservedGeneration: o.GetGeneration()})
}

// Progress says what is being done.
func Progress(o client.Object, conditions *[]metav1.Condition, message string) {
	Set(o, conditions, metav1.ConditionUnknown, api.ReasonProgressing, message)
}

// Conclude writes the final condition. It is told once it is written down: Turned.
func Conclude(o client.Object, conditions *[]metav1.Condition, good bool, why, message string) {
	is := metav1.ConditionTrue
	if !good {
		is = metav1.ConditionFalse
	}
	Set(o, conditions, is, why, message)
}

// Event raises an event about o.
func Event(recorder events.EventRecorder, o client.Object, kind, why, message string) {
	recorder.Eventf(o, nil, kind, why, "Reconcile", "%s", Clip(message))
}

// Save replaces the whole status of target, an object that need carry no more
// than its name. Only the leader writes it, so it needs no version check, which a
// change of the spec meanwhile would fail.
func Save(ctx context.Context, c client.Client, target client.Object, status any) error {
	patch, err := json.Marshal([]map[string]any{{"op": "add", "path": "/status", "value": status}})
	if err != nil {
		return err
	}
	if err := c.Status().Patch(ctx, target, client.RawPatch(types.JSONPatchType, patch)); err != nil {
		return fmt.Errorf("write status of %T %s/%s: %w", target, target.GetNamespace(), target.GetName(), err)
	}
	return nil
}
