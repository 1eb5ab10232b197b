package harness

import (
	"context"
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// unready lists the pods that are not, with the reason; it is part of an error, so that
// the context may be over.
func (c *Cluster) unready(ctx context.Context, namespaces []string) string {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	var said strings.Builder
	for _, namespace := range namespaces {
		var pods corev1.PodList
		if err := c.Client.List(ctx, &pods, client.InNamespace(namespace)); err != nil {
			continue // the error in hand is the one to tell
		}
		for i := range pods.Items {
			if p := &pods.Items[i]; p.Status.Phase != corev1.PodSucceeded && !ready(p) {
				fmt.Fprintf(&said, "\n  pod %s/%s is %s%s", p.Namespace, p.Name, p.Status.Phase, waits(p))
			}
		}
	}
	return said.String()
}

// waits says what a pod's containers wait for or ended with.
func waits(p *corev1.Pod) string {
	var said string
	for _, condition := range p.Status.Conditions {
		if condition.Type == corev1.PodScheduled && condition.Status != corev1.ConditionTrue {
			said += ": " + condition.Message
		}
	}
	for _, s := range append(p.Status.InitContainerStatuses, p.Status.ContainerStatuses...) {
		if w := s.State.Waiting; w != nil {
			said += fmt.Sprintf("; %s: %s %s", s.Name, w.Reason, w.Message)
		}
		if e := s.LastTerminationState.Terminated; e != nil {
			said += fmt.Sprintf("; %s ended with %d: %s %s", s.Name, e.ExitCode, e.Reason, e.Message)
		}
		if s.State.Running != nil && !s.Ready {
			said += fmt.Sprintf("; %s runs and is not ready", s.Name)
		}
	}
	return said
}
