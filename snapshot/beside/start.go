package beside

import (
	"context"
	"errors"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/snapshot/await"
	"github.com/medic/cht-backup/snapshot/reason"
)

// Pods are some of a backup's pods: those of one role.
type Pods struct {
	Client client.WithWatch
	Backup *api.Backup
	// Role is the value of their role label, and what they are called in messages.
	Role string
	// Unavailable is the reason for which an attempt ends when they do not start.
	Unavailable string
	// Refused says what to do where admission refuses them.
	Refused string
}

// Meta is what the pod of one node has to have, to be found here again.
func Meta(b *api.Backup, role, service string) metav1.ObjectMeta {
	return metav1.ObjectMeta{
		Namespace: b.Namespace, Name: fmt.Sprintf("cht-%s-%.8s-%d-%s", role, b.UID, b.Status.Attempt, service),
		Labels:          map[string]string{api.RoleLabel: role, api.BackupUIDLabel: string(b.UID), api.NodeLabel: service},
		OwnerReferences: []metav1.OwnerReference{*metav1.NewControllerRef(b, api.GroupVersion.WithKind("Backup"))},
	}
}

func (p Pods) which() []client.ListOption {
	return []client.ListOption{client.InNamespace(p.Backup.Namespace), client.MatchingLabels{api.BackupUIDLabel: string(p.Backup.UID), api.RoleLabel: p.Role}}
}

// Start creates the pods and waits until all run. make gives them anew each time. A
// machine that has no room for what they ask for gets them without: better a pod with
// little time than none.
func (p Pods) Start(ctx context.Context, within time.Duration, pods func() []*corev1.Pod) error {
	all := pods()
	for _, pod := range all {
		if err := p.create(ctx, pod); err != nil {
			return err
		}
	}
	ctx, cancel := context.WithTimeoutCause(ctx, within, errors.New("it did not start in "+within.String()))
	defer cancel()
	turnedAway, err := p.await(ctx, len(all))
	if err == nil && len(turnedAway) > 0 {
		if err := p.modest(ctx, pods(), turnedAway); err != nil {
			return err
		}
		_, err = p.await(ctx, len(all))
	}
	if err != nil && ctx.Err() != nil {
		return reason.Failed(p.Unavailable, "%w", err)
	}
	return err
}

func (p Pods) create(ctx context.Context, pod *corev1.Pod) error {
	if err := p.Client.Create(ctx, pod); apierrors.IsForbidden(err) {
		return reason.Failed(p.Unavailable, "the %s pod is not admitted (%s): %w", p.Role, p.Refused, err)
	} else if err != nil && !apierrors.IsAlreadyExists(err) {
		return fmt.Errorf("create %s pod %s/%s: %w", p.Role, pod.Namespace, pod.Name, err)
	}
	return nil
}

// await waits until all pods run, or gives those that their machine turned away for
// lack of room.
func (p Pods) await(ctx context.Context, count int) (turnedAway map[string]bool, err error) {
	var pods corev1.PodList
	err = await.List(ctx, p.Client, &pods, func() (string, error) {
		turnedAway = map[string]bool{}
		waiting := ""
		if len(pods.Items) < count {
			waiting = p.Role + " pods"
		}
		for _, pod := range pods.Items {
			if noRoom(pod) {
				turnedAway[pod.Name] = true
			} else if what := p.notRunning(pod); what != "" {
				waiting = what
			}
		}
		return waiting, nil
	}, p.which()...)
	return turnedAway, err
}

// modest puts pods that ask for nothing in the place of those turned away.
func (p Pods) modest(ctx context.Context, pods []*corev1.Pod, turnedAway map[string]bool) error {
	for _, pod := range pods {
		if !turnedAway[pod.Name] {
			continue
		}
		if err := p.Client.Delete(ctx, pod, client.GracePeriodSeconds(0)); client.IgnoreNotFound(err) != nil {
			return fmt.Errorf("delete %s pod %s/%s, which its machine has no room for: %w", p.Role, pod.Namespace, pod.Name, err)
		}
		var left corev1.PodList
		if err := await.List(ctx, p.Client, &left, func() (string, error) {
			for _, one := range left.Items {
				if one.Name == pod.Name && noRoom(one) {
					return "the end of " + p.Role + " pod " + pod.Name, nil
				}
			}
			return "", nil
		}, p.which()...); err != nil {
			return err
		}
		for i := range pod.Spec.Containers {
			pod.Spec.Containers[i].Resources = corev1.ResourceRequirements{}
		}
		if err := p.create(ctx, pod); err != nil {
			return err
		}
	}
	return nil
}

// noRoom tells that the kubelet did not admit a pod, which was put on its machine
// without asking the scheduler.
func noRoom(pod corev1.Pod) bool {
	return pod.Status.Phase == corev1.PodFailed && (pod.Status.Reason == "OutOfcpu" || pod.Status.Reason == "OutOfmemory")
}

func (p Pods) notRunning(pod corev1.Pod) string {
	if len(pod.Status.ContainerStatuses) < len(pod.Spec.Containers) {
		return fmt.Sprintf("%s pod %s (%s)", p.Role, pod.Name, pod.Status.Phase)
	}
	for _, c := range pod.Status.ContainerStatuses {
		if w := c.State.Waiting; w != nil {
			return fmt.Sprintf("%s pod %s, container %s (%s %s)", p.Role, pod.Name, c.Name, w.Reason, w.Message)
		}
		if c.State.Running == nil {
			return fmt.Sprintf("%s pod %s, container %s", p.Role, pod.Name, c.Name)
		}
	}
	return ""
}

// List gives the pods that are there.
func (p Pods) List(ctx context.Context) ([]corev1.Pod, error) {
	var pods corev1.PodList
	if err := p.Client.List(ctx, &pods, p.which()...); err != nil {
		return nil, fmt.Errorf("list %s pods of %s: %w", p.Role, p.Backup.Namespace, err)
	}
	return pods.Items, nil
}

// Remove deletes the backup's pods of these roles and tells how many are left.
func Remove(ctx context.Context, c client.Client, b *api.Backup, roles ...string) (left int, err error) {
	for _, role := range roles {
		var pods corev1.PodList
		if err := c.List(ctx, &pods, client.InNamespace(b.Namespace), client.MatchingLabels{api.BackupUIDLabel: string(b.UID), api.RoleLabel: role}); err != nil {
			return left, fmt.Errorf("list %s pods: %w", role, err)
		}
		left += len(pods.Items)
		for i := range pods.Items {
			if pods.Items[i].DeletionTimestamp == nil {
				if err := c.Delete(ctx, &pods.Items[i]); client.IgnoreNotFound(err) != nil {
					return left, fmt.Errorf("delete %s pod %s: %w", role, pods.Items[i].Name, err)
				}
			}
		}
	}
	return left, nil
}
