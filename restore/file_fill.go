package restore

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/semaphore"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/restore/fill"
	"github.com/medic/cht-backup/snapshot/catalog"
	"github.com/medic/cht-backup/snapshot/file/transfer"
	"github.com/medic/cht-backup/snapshot/reason"
)

// A volume that is filled from files has a filler as the first container of its
// prepare-volume pod: it takes files from the controller, which reads them from the
// catalog, and ends when it has all. What it has written whole stays if it is killed,
// and whoever fills it next goes on from there.

// fillContainer is the name of the filler's container.
const fillContainer = "fill"

// filledText is the progress of a volume that has all.
const filledText = "filled"

// Fillers reach fillers.
type Fillers interface {
	// Connect has the filler in that container of a pod let this process in, whoever it
	// was that it let in before, and gives what it writes to and what ends the connection.
	Connect(ctx context.Context, pod *corev1.Pod, container string) (transfer.Sink, func(), error)
}

// filesAtOnce bounds how many files are on their way at once, of all restores: each
// holds a few chunks in memory.
const filesAtOnce = 16

// fillTurn is how soon a restore looks again how far its fillings are.
const fillTurn = 5 * time.Second

func (r *Reconciler) setUpFills() {
	r.fills, r.fileSlots = fill.New(r.Now), semaphore.NewWeighted(filesAtOnce)
}

// filling is how far a pod's filler is, in words, and whether it runs.
func (r *Reconciler) filling(ctx context.Context, w *work, node catalog.Node, pod *corev1.Pod) (text string, running bool, err error) {
	v := volumeStatus(w.restore, node.Service)
	c := initStatus(pod, fillContainer)
	switch {
	case c.State.Terminated != nil && c.State.Terminated.ExitCode == 0:
		v.Bound, v.Filled.Done, v.Filled.Text = true, v.Filled.Total, filledText
		return fmt.Sprintf("claim %s to be prepared", v.Claim), false, nil
	case c.State.Running == nil:
		return fmt.Sprintf("claim %s and pod %s (%s)", v.Claim, pod.Name, podTrouble(*pod)), false, nil
	}
	state := r.fills.Go(fill.Key{Restore: w.restore.UID, Node: node.Service}, fill.Job{
		Filler: c.ContainerID,
		Do:     r.fillFrom(node, pod.DeepCopy()),
		Ended:  func() { r.wake(client.ObjectKeyFromObject(w.restore)) },
	})
	v.Bound = true
	if state.Progress.Total > 0 {
		v.Filled.Done, v.Filled.Total = *resource.NewQuantity(state.Progress.Done, resource.BinarySI), *resource.NewQuantity(state.Progress.Total, resource.BinarySI)
		v.Filled.Text = state.Text
	}
	text = fmt.Sprintf("%s to be filled (%s)", v.Claim, orBegun(state.Text))
	switch e := reason.Of(state.Err); {
	case state.Done: // the filler is about to end, and its pod tells
		return text, false, nil
	case e != nil:
		err := fmt.Errorf("fill claim %s: %w", v.Claim, state.Err)
		return "", false, errors.Join(err, r.tellDamaged(ctx, w, node, err))
	case state.Err != nil:
		text += "; it is tried again after: " + state.Err.Error()
	}
	return text, true, nil
}

func orBegun(text string) string {
	if text == "" {
		return "it begins"
	}
	return text
}

// fillFrom moves a node's files into its filler.
func (r *Reconciler) fillFrom(node catalog.Node, pod *corev1.Pod) func(context.Context, func(transfer.Progress)) error {
	return func(ctx context.Context, report func(transfer.Progress)) error {
		reader, err := r.Repositories.Open(ctx, node.File.Repository)
		if err != nil {
			return err
		}
		sink, end, err := r.Fillers.Connect(ctx, pod, fillContainer)
		if err != nil {
			return fmt.Errorf("reach the filler in pod %s/%s (do NetworkPolicies let the controller reach pods of that namespace?): %w", pod.Namespace, pod.Name, err)
		}
		defer end()
		_, err = transfer.Restore(ctx, reader, node.File.Tree, refusals{sink}, transfer.Options{Slots: r.fileSlots, Progress: report})
		return damage(err)
	}
}

// wake brings a restore back.
func (r *Reconciler) wake(key client.ObjectKey) {
	o := &api.Restore{}
	o.Namespace, o.Name = key.Namespace, key.Name
	select {
	case r.drills.wake <- event.GenericEvent{Object: o}:
	default: // it comes back by itself, later
	}
}

// refilled tells whether a pod failed in its filler, which another can go on with, and
// deletes it then.
func (r *Reconciler) refilled(ctx context.Context, pod *corev1.Pod) (bool, error) {
	c := initStatus(pod, fillContainer)
	prepared := c.State.Terminated != nil && c.State.Terminated.ExitCode == 0
	if len(pod.Spec.InitContainers) == 0 || prepared && terminated(pod.Status.ContainerStatuses) {
		return false, nil
	}
	err := r.Client.Delete(ctx, pod, client.Preconditions{UID: &pod.UID})
	if client.IgnoreNotFound(err) != nil {
		return true, fmt.Errorf("delete pod %s/%s, whose filler ended: %w", pod.Namespace, pod.Name, err)
	}
	return true, nil
}

// stuck refuses to wait longer for volumes that are filled, once nothing has moved for
// as long as a step may take.
func (r *Reconciler) stuck(restore *api.Restore, waiting error) error {
	last := r.fills.Moved(restore.UID)
	if began := restore.Status.PhaseTime; began != nil && began.After(last) {
		last = began.Time
	}
	idle := r.Now().Sub(last)
	if idle <= restore.Spec.StepTimeout.Duration {
		return waiting
	}
	return reason.Refuse(api.ReasonFillFailed, "nothing was filled for %s (spec.stepTimeout is %s): %s", idle.Round(time.Second), restore.Spec.StepTimeout.Duration, strings.TrimPrefix(waiting.Error(), "waiting for "))
}

func terminated(containers []corev1.ContainerStatus) bool {
	return slices.ContainsFunc(containers, func(c corev1.ContainerStatus) bool { return c.State.Terminated != nil })
}

// initStatus is what is known of an init container, empty for nothing.
func initStatus(pod *corev1.Pod, name string) corev1.ContainerStatus {
	for _, c := range pod.Status.InitContainerStatuses {
		if c.Name == name {
			return c
		}
	}
	return corev1.ContainerStatus{}
}
