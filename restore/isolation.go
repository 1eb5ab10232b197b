package restore

import (
	"context"
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/restore/probe"
	"github.com/medic/cht-backup/snapshot/await"
	"github.com/medic/cht-backup/snapshot/status"
)

// probesWithin bounds the wait for all probes of a clone, from the image's pull to
// the last round. A probe that cannot start must not keep the clone from people:
// it proves nothing, and that is told.
const probesWithin = 3 * time.Minute

// proveIsolation finds out whether a clone can reach out, once in the step, and
// writes what came out before anything is started by it: a controller that starts
// anew must not judge differently about what already runs.
func (r *Reconciler) proveIsolation(ctx context.Context, w *work) error {
	restore := w.restore
	if had := restore.Status.Isolation; had != nil && restore.Status.PhaseTime != nil && !had.Time.Before(restore.Status.PhaseTime) {
		return nil
	}
	t, err := r.isolationTargets(ctx, w)
	if err != nil {
		return err
	}
	probes := w.probes(r.Image, t.all)
	for _, pod := range probes {
		if err := r.create(ctx, restore, pod); err != nil {
			return fmt.Errorf("create isolation probe %s/%s: %w", pod.Namespace, pod.Name, err)
		}
	}
	pods, err := r.probed(ctx, restore, probes)
	if err != nil {
		return err
	}
	control := probe.Once(ctx, r.dialer(), t.all)
	if ctx.Err() != nil {
		return fmt.Errorf("waiting for the control of the isolation probes: %w", ctx.Err()) // a turn's end is no silence
	}
	targets, silent := evidence(probes, pods, control, t.apiServers)
	found := api.Isolation{Time: metav1.NewMicroTime(r.Now()), Targets: targets}
	found.Result, found.Message = judge(targets, silent)
	r.tellIsolation(restore, found)
	if err := r.save(ctx, restore); err != nil {
		return err
	}
	kind := corev1.EventTypeWarning
	if found.Result == api.IsolationEnforced {
		kind = corev1.EventTypeNormal
	}
	status.Event(r.Events, restore, kind, "Isolation"+string(found.Result), found.Message)
	return r.dropProbes(ctx, restore)
}

func (r *Reconciler) dialer() probe.Dialer {
	if r.Dial != nil {
		return r.Dial
	}
	return probe.Dial
}

// probed waits until every probe has ended, or their time is over.
func (r *Reconciler) probed(ctx context.Context, restore *api.Restore, probes []*corev1.Pod) (map[string]corev1.Pod, error) {
	late := r.spent(restore) >= min(probesWithin, restore.Spec.StepTimeout.Duration/2)
	found := map[string]corev1.Pod{}
	var pods corev1.PodList
	err := await.List(ctx, r.Client, &pods, func() (string, error) {
		for _, pod := range pods.Items {
			found[pod.Name] = pod
		}
		for _, p := range probes {
			if pod := found[p.Name]; !late && !probeEnded(pod) {
				return fmt.Sprintf("the isolation probe of %s (pod %s: %s)", p.Annotations[standsForAnnotation], p.Name, orGone(pod)), nil
			}
		}
		return "", nil
	}, client.InNamespace(restore.Namespace), client.MatchingLabels{api.RestoreUIDLabel: string(restore.UID), api.RoleLabel: roleProbe})
	return found, err
}

func (r *Reconciler) dropProbes(ctx context.Context, restore *api.Restore) error {
	err := r.Client.DeleteAllOf(ctx, &corev1.Pod{}, client.InNamespace(restore.Namespace),
		client.MatchingLabels{api.RestoreUIDLabel: string(restore.UID), api.RoleLabel: roleProbe})
	if err != nil {
		return fmt.Errorf("delete the isolation probes of %s: %w", restore.Namespace, err)
	}
	return nil
}

func (r *Reconciler) tellIsolation(restore *api.Restore, found api.Isolation) {
	found.Message = status.Clip(found.Message)
	restore.Status.Isolation = &found
	is := metav1.ConditionFalse
	if found.Result == api.IsolationEnforced {
		is = metav1.ConditionTrue
	}
	meta.SetStatusCondition(&restore.Status.Conditions, metav1.Condition{Type: api.ConditionIsolated, Status: is, Reason: string(found.Result),
		Message: found.Message, ObservedGeneration: restore.Generation})
}

// evidence puts what the probes reported beside what the controller found at the
// same addresses. silent are the workloads of whose probe there is no report, with
// the reason.
func evidence(probes []*corev1.Pod, found map[string]corev1.Pod, control []probe.Target, apiServers []string) (targets []api.IsolationTarget, silent []silence) {
	for _, p := range probes {
		pod, from := found[p.Name], p.Annotations[standsForAnnotation]
		report, err := probe.Parse(probeMessage(pod))
		switch {
		case !probeEnded(pod):
			silent = append(silent, silence{from, fmt.Sprintf("pod %s did not end in time: %s", p.Name, orGone(pod))})
			continue
		case err != nil:
			silent = append(silent, silence{from, err.Error()})
			continue
		}
		for _, t := range report.Targets {
			one := api.IsolationTarget{From: from, Kind: t.Kind, Address: t.Address, Outcome: t.Outcome, Rounds: int32(report.Rounds), //nolint:gosec // few
				OwnNode: ownNode(pod, t, apiServers)}
			// What is not among the addresses any more, since a pod of the source went,
			// has no control.
			if i := slices.IndexFunc(control, func(c probe.Target) bool { return c.Kind == t.Kind && c.Address == t.Address }); i >= 0 {
				one.Control = control[i].Outcome
			}
			targets = append(targets, one)
		}
	}
	return targets, silent
}

func orGone(pod corev1.Pod) string {
	if pod.Name == "" {
		return "it is not there"
	}
	return podTrouble(pod)
}
