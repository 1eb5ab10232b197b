package hollow

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

const (
	// beat is how often a node says that it lives.
	beat = 10 * time.Second
	// leases of nodes are there.
	leases = "kube-node-lease"
)

// Node plays a machine: its pods run as soon as they are bound to it, and end as soon
// as they shall. Its kubelet answers exec, and knows the product's pause alone.
type Node struct {
	Client client.WithWatch
	Name   string
	Labels map[string]string
	// Taint keeps all other pods away; "" for none.
	Taint string
	// Pods it takes at most.
	Pods int64
	// Address of all pods of a namespace: one on which somebody listens.
	Address func(namespace string) string
	// Holds remembers the pauses.
	Holds *Holds

	kubelet kubelet
}

// Start serves exec and minds pods as long as work lasts.
func (n *Node) Start(ctx, work context.Context, config *rest.Config) error {
	n.kubelet.holds = n.Holds
	if err := n.kubelet.listen(ctx, config); err != nil {
		return err
	}
	go Follow(work, n.Client, func() client.ObjectList { return &corev1.PodList{} }, func(o client.Object) { n.mind(work, o) }, client.MatchingFields{"spec.nodeName": n.Name})
	return nil
}

// Close ends the kubelet.
func (n *Node) Close() error {
	if n.kubelet.server == nil {
		return nil
	}
	return n.kubelet.server.Close()
}

// Register makes the Node, and keeps its lease new while the program lives.
func (n *Node) Register(ctx context.Context) error {
	yes := corev1.ConditionTrue
	now := metav1.Now()
	o := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: n.Name, Labels: map[string]string{corev1.LabelHostname: n.Name, corev1.LabelOSStable: "linux"}}}
	maps.Copy(o.Labels, n.Labels)
	if n.Taint != "" {
		o.Spec.Taints = []corev1.Taint{{Key: n.Taint, Effect: corev1.TaintEffectNoSchedule}}
	}
	if err := n.Client.Create(ctx, o); err != nil {
		return fmt.Errorf("create node %s: %w", n.Name, err)
	}
	was := o.DeepCopy()
	o.Status = corev1.NodeStatus{
		Capacity:        corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("1000"), corev1.ResourceMemory: resource.MustParse("10Ti"), corev1.ResourcePods: *resource.NewQuantity(n.Pods, resource.DecimalSI)},
		Addresses:       []corev1.NodeAddress{{Type: corev1.NodeInternalIP, Address: n.kubelet.host}},
		DaemonEndpoints: corev1.NodeDaemonEndpoints{KubeletEndpoint: corev1.DaemonEndpoint{Port: n.kubelet.port}},
		Conditions:      []corev1.NodeCondition{{Type: corev1.NodeReady, Status: yes, Reason: "KubeletReady", LastHeartbeatTime: now, LastTransitionTime: now}},
	}
	o.Status.Allocatable = o.Status.Capacity
	if err := n.Client.Status().Patch(ctx, o, client.MergeFrom(was)); err != nil {
		return fmt.Errorf("write the status of node %s: %w", n.Name, err)
	}
	return n.beat(ctx)
}

// beat renews the lease, without which the node's pods would soon count as lost.
func (n *Node) beat(ctx context.Context) error {
	name, seconds, now := n.Name, int32(40), metav1.NowMicro()
	lease := &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Namespace: leases, Name: n.Name}}
	err := n.Client.Get(ctx, client.ObjectKeyFromObject(lease), lease)
	lease.Spec = coordinationv1.LeaseSpec{HolderIdentity: &name, LeaseDurationSeconds: &seconds, RenewTime: &now}
	switch {
	case client.IgnoreNotFound(err) != nil:
	case err != nil:
		err = n.Client.Create(ctx, lease)
	default:
		err = n.Client.Update(ctx, lease)
	}
	if err != nil {
		return fmt.Errorf("renew the lease of node %s: %w", n.Name, err)
	}
	return nil
}

// Live renews the lease while work lasts.
func (n *Node) Live(work context.Context) {
	for work.Err() == nil {
		_ = n.beat(work) // the next one makes up for it
		select {
		case <-work.Done():
		case <-time.After(beat):
		}
	}
}

// mind does for a pod what a kubelet does.
func (n *Node) mind(ctx context.Context, o client.Object) {
	pod, ok := o.(*corev1.Pod)
	switch {
	case !ok:
	case pod.DeletionTimestamp != nil:
		now := int64(0)
		_ = n.Client.Delete(ctx, pod, &client.DeleteOptions{GracePeriodSeconds: &now}) // gone already, or the next event asks again
	case pod.Status.Phase == corev1.PodPending:
		patch, err := json.Marshal(map[string]any{"status": running(pod, n.Address(pod.Namespace))})
		if err == nil {
			_ = n.Client.Status().Patch(ctx, pod, client.RawPatch(types.StrategicMergePatchType, patch))
		}
	}
}

// running is the status of a pod that runs and is ready.
func running(pod *corev1.Pod, address string) corev1.PodStatus {
	now, yes := metav1.Now(), true
	s := corev1.PodStatus{Phase: corev1.PodRunning, StartTime: &now, PodIP: address}
	s.PodIPs = []corev1.PodIP{{IP: s.PodIP}}
	for _, t := range []corev1.PodConditionType{corev1.PodInitialized, corev1.ContainersReady, corev1.PodReady} {
		s.Conditions = append(s.Conditions, corev1.PodCondition{Type: t, Status: corev1.ConditionTrue, LastTransitionTime: now})
	}
	for _, c := range pod.Spec.Containers {
		s.ContainerStatuses = append(s.ContainerStatuses, corev1.ContainerStatus{Name: c.Name, Image: c.Image, ImageID: c.Image, Ready: true, Started: &yes,
			ContainerID: "hollow://" + string(pod.UID), State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: now}}})
	}
	return s
}

// Forget removes the lease, which nobody else does.
func (n *Node) Forget(ctx context.Context) error {
	lease := &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Namespace: leases, Name: n.Name}}
	return client.IgnoreNotFound(n.Client.Delete(ctx, lease))
}
