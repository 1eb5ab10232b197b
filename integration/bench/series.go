package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	snapv1 "github.com/kubernetes-csi/external-snapshotter/client/v8/apis/volumesnapshot/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/rand"
	"k8s.io/apimachinery/pkg/util/uuid"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/snapshot"
	"github.com/medic/cht-backup/snapshot/await"
	"github.com/medic/cht-backup/snapshot/cht"
	"github.com/medic/cht-backup/snapshot/quiesce"
)

const freezerWithin = 90 * time.Second

// series is the alternative: what tools do that run a hook before and after each
// pod's snapshots. Node by node, freeze, take the snapshot, wait until it is ready
// to use, thaw. It is made as quick as it can be: the freezers and the streams to
// them stand before the first freeze, and the wait is a watch, where such tools
// start a process in the pod for each hook and ask every few seconds.
type series struct {
	s      *stage
	stand  *api.Backup // never created: it only names things
	nodes  []cht.Node
	events <-chan watch.Event
}

func (s *stage) series(ctx context.Context, one *sample) (err error) {
	one.began = time.Now()
	defer func() { one.done = time.Now() }()
	a := &series{s: s, stand: &api.Backup{ObjectMeta: metav1.ObjectMeta{Namespace: s.namespace, Name: "series-" + rand.String(6), UID: uuid.NewUUID()}}}
	a.stand.Status.Attempt = 1
	inventory, err := cht.Load(ctx, s.c.Client, s.namespace)
	if err != nil {
		return err
	}
	instance, err := cht.Discover(inventory)
	if err != nil {
		return err
	}
	a.nodes = instance.Nodes
	events, err := s.c.Client.Watch(ctx, &snapv1.VolumeSnapshotContentList{})
	if err != nil {
		return fmt.Errorf("watch VolumeSnapshotContents: %w", err)
	}
	defer events.Stop()
	a.events = events.ResultChan()
	defer func() { err = errors.Join(err, a.remove(ctx)) }()
	streams, err := a.open(ctx)
	if err != nil {
		return err
	}
	defer quiesce.CloseAll(streams)
	for i, node := range a.nodes {
		h, err := a.turn(ctx, node, streams[i:i+1], s.classes[one.driver])
		if err != nil {
			return fmt.Errorf("%s: %w", node.Service, err)
		}
		one.holds = append(one.holds, h)
	}
	one.start, one.released = one.holds[0].start, one.holds[len(one.holds)-1].released
	return nil
}

// open starts the product's freezer pods for all nodes, and a stream to each.
func (a *series) open(ctx context.Context) ([]*quiesce.Stream, error) {
	var targets []quiesce.Target
	for _, node := range a.nodes {
		pod := snapshot.FreezerPod(a.stand, node, a.s.image)
		pod.OwnerReferences = nil // its owner does not exist: it would be collected
		if err := a.s.c.Client.Create(ctx, pod); err != nil {
			return nil, fmt.Errorf("create freezer pod %s/%s: %w", pod.Namespace, pod.Name, err)
		}
		targets = append(targets, quiesce.Target{Node: node.Service, Namespace: pod.Namespace, Pod: pod.Name, Container: "freezer",
			Command: quiesce.FreezeCommand(a.s.o.maxStall)})
	}
	start, cancel := context.WithTimeoutCause(ctx, freezerWithin, errors.New("they did not start in "+freezerWithin.String()))
	defer cancel()
	var pods corev1.PodList
	err := await.List(start, a.s.c.Client, &pods, func() (string, error) {
		running := 0
		for i := range pods.Items {
			if allRun(&pods.Items[i]) {
				running++
			}
		}
		if running < len(a.nodes) {
			return fmt.Sprintf("freezer pods (%d of %d run)", running, len(a.nodes)), nil
		}
		return "", nil
	}, a.mine()...)
	if err != nil {
		return nil, err
	}
	return quiesce.Execer{Config: a.s.c.Config, Client: a.s.c.Kube}.OpenAll(ctx, targets, freezerWithin)
}

func allRun(pod *corev1.Pod) bool {
	for _, s := range pod.Status.ContainerStatuses {
		if s.State.Running == nil {
			return false
		}
	}
	return len(pod.Status.ContainerStatuses) == len(pod.Spec.Containers)
}

// turn is one node's: the freezer proves at its end that the hold was unbroken.
func (a *series) turn(ctx context.Context, node cht.Node, stream []*quiesce.Stream, class *string) (hold, error) {
	var h hold
	times, err := quiesce.Stall(ctx, stream, a.s.o.maxStall, func(ctx context.Context) error {
		one := &snapv1.VolumeSnapshot{
			ObjectMeta: metav1.ObjectMeta{Namespace: a.s.namespace, Name: a.stand.Name + "-" + node.Service, Labels: a.labels()},
			Spec:       snapv1.VolumeSnapshotSpec{Source: snapv1.VolumeSnapshotSource{PersistentVolumeClaimName: &node.Claim.Name}, VolumeSnapshotClassName: class},
		}
		if err := a.s.c.Client.Create(ctx, one); err != nil {
			return fmt.Errorf("create VolumeSnapshot %s/%s: %w", one.Namespace, one.Name, err)
		}
		return a.wait(ctx, "snapcontent-"+string(one.UID), &h)
	})
	h.start, h.held, h.released = times.Start, times.Quiesced, times.Released
	return h, err
}

// wait notes when a content has its handle and its point in time, and when it is
// ready.
func (a *series) wait(ctx context.Context, content string, h *hold) error {
	for {
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for %s: %w", content, context.Cause(ctx))
		case event, open := <-a.events:
			if !open {
				return errors.New("the watch of VolumeSnapshotContents ended")
			}
			one, ok := event.Object.(*snapv1.VolumeSnapshotContent)
			if !ok || one.Name != content || one.Status == nil {
				continue
			}
			if e := one.Status.Error; e != nil && e.Message != nil {
				return fmt.Errorf("%s: %s", content, *e.Message)
			}
			if h.named.IsZero() && one.Status.CreationTime != nil && one.Status.SnapshotHandle != nil {
				h.named = time.Now()
			}
			if !h.named.IsZero() && one.Status.ReadyToUse != nil && *one.Status.ReadyToUse {
				h.ready = time.Now()
				return nil
			}
		}
	}
}

func (a *series) labels() map[string]string {
	return map[string]string{api.BackupUIDLabel: string(a.stand.UID)}
}

func (a *series) mine() []client.ListOption {
	return []client.ListOption{client.InNamespace(a.s.namespace), client.MatchingLabels(a.labels())}
}

// remove deletes pods and snapshots and waits until they are gone.
func (a *series) remove(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(context.WithoutCancel(ctx), goneWithin, fmt.Errorf("they did not go in %s", goneWithin))
	defer cancel()
	in := []client.DeleteAllOfOption{client.InNamespace(a.s.namespace), client.MatchingLabels(a.labels())}
	err := errors.Join(a.s.c.Client.DeleteAllOf(ctx, &corev1.Pod{}, in...), a.s.c.Client.DeleteAllOf(ctx, &snapv1.VolumeSnapshot{}, in...))
	if err != nil {
		return fmt.Errorf("remove what the series made in %s: %w", a.s.namespace, err)
	}
	var pods corev1.PodList
	var snapshots snapv1.VolumeSnapshotList
	return errors.Join(
		await.List(ctx, a.s.c.Client, &pods, func() (string, error) { return none("freezer pods", len(pods.Items)) }, a.mine()...),
		await.List(ctx, a.s.c.Client, &snapshots, func() (string, error) { return none("snapshots", len(snapshots.Items)) }, a.mine()...))
}

func none(what string, left int) (string, error) {
	if left > 0 {
		return fmt.Sprintf("the end of %d %s", left, what), nil
	}
	return "", nil
}
