package restore

import (
	"fmt"
	"maps"
	"net"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/restore/probe"
	"github.com/medic/cht-backup/snapshot/cht"
)

const (
	roleProbe = "probe-isolation"
	// standsForAnnotation names the workload whose pods a probe stands for.
	standsForAnnotation = "backup.communityhealthtoolkit.org/stands-for"
	// neverReady is a condition that nobody ever sets: a Service that selects the
	// probe by the labels it bears sends it nothing.
	neverReady corev1.PodConditionType = "backup.communityhealthtoolkit.org/never"
	// mostProbes bounds their number. A CHT has half a dozen workloads.
	mostProbes = 16
	// probeDeadline ends a probe that hangs, in seconds; its rounds take 45 at most.
	probeDeadline int64 = 120
)

// inward are the components that talk to nobody outside the namespace.
var inward = map[string]bool{"haproxy": true, "healthcheck": true}

// rises tells whether a clone's start step may bring a workload up: CouchDB runs
// by then, and Sentinel stays down in any case.
func (w *work) rises(o *unstructured.Unstructured) bool {
	return isWorkload(o) && heldAt(o) > 0 && !cht.IsCouchDB(component(o)) && w.starts(component(o))
}

// uncontained says of a workload why no proof holds for its pods; "" when one may.
func uncontained(o *unstructured.Unstructured) string {
	spec, err := podSpec(o)
	switch {
	case err != nil:
		return err.Error()
	case spec.HostNetwork:
		return "its pods use their node's network, which no NetworkPolicy concerns"
	}
	return ""
}

// probes are the pods that try to leave a clone, one for each workload that may be
// brought up. What a pod may reach depends on its labels, since policies are added
// up: one that somebody put there for the API opens the API's pods alone.
func (w *work) probes(image string, targets []probe.Target) []*corev1.Pod {
	command := []string{"/cht-backup", "probe-isolation"}
	for _, t := range targets {
		command = append(command, "--target", t.String())
	}
	var pods []*corev1.Pod
	for _, o := range w.target {
		if w.rises(o) && uncontained(o) == "" && len(pods) < mostProbes {
			pods = append(pods, w.probePod(o, fmt.Sprint(len(pods)), image, command))
		}
	}
	return pods
}

// probePod stands for a workload's pods: with their labels, where they run.
func (w *work) probePod(o *unstructured.Unstructured, name, image string, command []string) *corev1.Pod {
	pod := ourPod(w.restore, roleProbe, name, image, command)
	l, _, _ := unstructured.NestedStringMap(o.Object, "spec", "template", "metadata", "labels")
	l = maps.Clone(l)
	if l == nil {
		l = map[string]string{}
	}
	maps.Copy(l, pod.Labels)
	delete(l, api.NodeLabel) // it is no CouchDB node's
	pod.Labels, pod.Annotations = l, map[string]string{standsForAnnotation: o.GetName()}
	// With a controller of its own no ReplicaSet takes it for one that it lost.
	controller := true
	pod.OwnerReferences = []metav1.OwnerReference{{APIVersion: api.GroupVersion.String(), Kind: "Restore", Name: w.restore.Name, UID: w.restore.UID, Controller: &controller}}
	pod.Spec.ReadinessGates = []corev1.PodReadinessGate{{ConditionType: neverReady}}
	deadline := probeDeadline
	pod.Spec.ActiveDeadlineSeconds = &deadline
	if spec, err := podSpec(o); err == nil {
		placeLike(&pod.Spec, spec)
	}
	return pod
}

// probeEnded looks at the container, not at the pod: one that somebody's webhook
// put beside it may never end.
func probeEnded(pod corev1.Pod) bool {
	return pod.Status.Phase == corev1.PodFailed || pod.Status.Phase == corev1.PodSucceeded ||
		slices.ContainsFunc(pod.Status.ContainerStatuses, func(c corev1.ContainerStatus) bool { return c.Name == roleProbe && c.State.Terminated != nil })
}

func probeMessage(pod corev1.Pod) string {
	for _, c := range pod.Status.ContainerStatuses {
		if c.Name == roleProbe && c.State.Terminated != nil {
			return strings.TrimSpace(c.State.Terminated.Message)
		}
	}
	return strings.TrimSpace(pod.Status.Reason + " " + pod.Status.Message)
}

// ownNode tells whether an address is of the node that a probe ran on, or may lead
// there: a connection to the API's Service goes to any of its servers.
func ownNode(pod corev1.Pod, t probe.Target, apiServers []string) bool {
	host, _, err := net.SplitHostPort(t.Address)
	if err != nil {
		return false
	}
	on := func(ip string) bool {
		return ip != "" && (ip == pod.Status.HostIP || slices.ContainsFunc(pod.Status.HostIPs, func(h corev1.HostIP) bool { return h.IP == ip }))
	}
	// An address of the API that is no server's is the Service's.
	return on(host) || t.Kind == api.TargetAPIServer && !slices.Contains(apiServers, host) && slices.ContainsFunc(apiServers, on)
}
