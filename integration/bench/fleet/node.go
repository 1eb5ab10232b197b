package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/medic/cht-backup/integration/harness"
)

const (
	// nodeName is that of the node that is this program.
	nodeName = "fleet"
	// nodeTaint keeps all other pods away from it.
	nodeTaint = "cht-backup.test/fleet"
	// beat is how often it says that it lives.
	beat = 10 * time.Second
	// leases of nodes are there.
	leases = "kube-node-lease"
)

// node plays a machine: its pods run as soon as they are bound to it, and end as soon
// as they shall.
type node struct {
	client  client.WithWatch
	holds   *holds
	kubelet kubelet
}

// start serves exec and minds pods as long as work lasts.
func (n *node) start(ctx, work context.Context, c *harness.Cluster) error {
	n.kubelet.holds = n.holds
	if err := n.kubelet.listen(ctx, c.Config); err != nil {
		return err
	}
	go follow(work, n.client, func() client.ObjectList { return &corev1.PodList{} }, func(o client.Object) { n.mind(work, o) }, client.MatchingFields{"spec.nodeName": nodeName})
	return nil
}

func (n *node) close() error {
	if n.kubelet.server == nil {
		return nil
	}
	return n.kubelet.server.Close()
}

// register makes the Node, and keeps its lease new while the program lives.
func (n *node) register(ctx context.Context) error {
	yes := corev1.ConditionTrue
	now := metav1.Now()
	o := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: nodeName, Labels: map[string]string{mark: "node", corev1.LabelHostname: nodeName, corev1.LabelOSStable: "linux"}},
		Spec: corev1.NodeSpec{Taints: []corev1.Taint{{Key: nodeTaint, Effect: corev1.TaintEffectNoSchedule}}}}
	if err := n.client.Create(ctx, o); err != nil {
		return fmt.Errorf("create node %s: %w", nodeName, err)
	}
	was := o.DeepCopy()
	o.Status = corev1.NodeStatus{
		Capacity:        corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("1000"), corev1.ResourceMemory: resource.MustParse("10Ti"), corev1.ResourcePods: *resource.NewQuantity(2*most, resource.DecimalSI)},
		Addresses:       []corev1.NodeAddress{{Type: corev1.NodeInternalIP, Address: n.kubelet.host}},
		DaemonEndpoints: corev1.NodeDaemonEndpoints{KubeletEndpoint: corev1.DaemonEndpoint{Port: n.kubelet.port}},
		Conditions:      []corev1.NodeCondition{{Type: corev1.NodeReady, Status: yes, Reason: "KubeletReady", LastHeartbeatTime: now, LastTransitionTime: now}},
	}
	o.Status.Allocatable = o.Status.Capacity
	if err := n.client.Status().Patch(ctx, o, client.MergeFrom(was)); err != nil {
		return fmt.Errorf("write the status of node %s: %w", nodeName, err)
	}
	return n.beat(ctx)
}

// beat renews the lease, without which the node's pods would soon count as lost.
func (n *node) beat(ctx context.Context) error {
	name, seconds, now := nodeName, int32(40), metav1.NowMicro()
	lease := &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Namespace: leases, Name: nodeName}}
	err := n.client.Get(ctx, client.ObjectKeyFromObject(lease), lease)
	lease.Spec = coordinationv1.LeaseSpec{HolderIdentity: &name, LeaseDurationSeconds: &seconds, RenewTime: &now}
	switch {
	case client.IgnoreNotFound(err) != nil:
	case err != nil:
		err = n.client.Create(ctx, lease)
	default:
		err = n.client.Update(ctx, lease)
	}
	if err != nil {
		return fmt.Errorf("renew the lease of node %s: %w", nodeName, err)
	}
	return nil
}

// live renews the lease while work lasts.
func (n *node) live(work context.Context) {
	for work.Err() == nil {
		_ = n.beat(work) // the next one makes up for it
		select {
		case <-work.Done():
		case <-time.After(beat):
		}
	}
}

// mind does for a pod what a kubelet does.
func (n *node) mind(ctx context.Context, o client.Object) {
	pod, ok := o.(*corev1.Pod)
	switch {
	case !ok:
	case pod.DeletionTimestamp != nil:
		now := int64(0)
		_ = n.client.Delete(ctx, pod, &client.DeleteOptions{GracePeriodSeconds: &now}) // gone already, or the next event asks again
	case pod.Status.Phase == corev1.PodPending:
		patch, err := json.Marshal(map[string]any{"status": running(pod)})
		if err == nil {
			_ = n.client.Status().Patch(ctx, pod, client.RawPatch(types.StrategicMergePatchType, patch))
		}
	}
}

// running is the status of a pod that runs and is ready.
func running(pod *corev1.Pod) corev1.PodStatus {
	now, yes := metav1.Now(), true
	s := corev1.PodStatus{Phase: corev1.PodRunning, StartTime: &now, PodIP: address(pod.Namespace)}
	s.PodIPs = []corev1.PodIP{{IP: s.PodIP}}
	for _, t := range []corev1.PodConditionType{corev1.PodInitialized, corev1.ContainersReady, corev1.PodReady} {
		s.Conditions = append(s.Conditions, corev1.PodCondition{Type: t, Status: corev1.ConditionTrue, LastTransitionTime: now})
	}
	for _, c := range pod.Spec.Containers {
		s.ContainerStatuses = append(s.ContainerStatuses, corev1.ContainerStatus{Name: c.Name, Image: c.Image, ImageID: c.Image, Ready: true, Started: &yes,
			ContainerID: "fleet://" + string(pod.UID), State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: now}}})
	}
	return s
}

// follow calls do with every object of a list, and again whenever it changes.
func follow(ctx context.Context, c client.WithWatch, list func() client.ObjectList, do func(client.Object), opts ...client.ListOption) {
	for ctx.Err() == nil {
		if err := followOnce(ctx, c, list(), do, opts); err != nil {
			select {
			case <-ctx.Done():
			case <-time.After(time.Second): // the API server was away
			}
		}
	}
}

func followOnce(ctx context.Context, c client.WithWatch, list client.ObjectList, do func(client.Object), opts []client.ListOption) error {
	if err := c.List(ctx, list, opts...); err != nil {
		return err
	}
	if err := eachItem(list, func(o client.Object) error { do(o); return nil }); err != nil {
		return err
	}
	o := &client.ListOptions{}
	o.ApplyOptions(opts)
	o.Raw = &metav1.ListOptions{ResourceVersion: list.GetResourceVersion()}
	events, err := c.Watch(ctx, list, o)
	if err != nil {
		return err
	}
	defer events.Stop()
	for event := range events.ResultChan() {
		object, ok := event.Object.(client.Object)
		if !ok {
			return errors.New("the watch failed")
		}
		if event.Type != "DELETED" {
			do(object)
		}
	}
	return nil
}
