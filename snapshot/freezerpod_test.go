package snapshot

import (
	"context"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/snapshot/cht"
)

// A machine that is full admits no pod that asks for more, and the scheduler is not
// asked: the freezer must start there all the same.
func TestFreezersOnFullMachines(t *testing.T) {
	nodes := []cht.Node{{Service: "couchdb-1"}, {Service: "couchdb-2"}, {Service: "couchdb-3"}}
	for i := range nodes {
		nodes[i].Pod.NodeName, nodes[i].Claim.Name = "machine-"+nodes[i].Service, nodes[i].Service+"-claim0"
	}
	for name, full := range map[string]map[string]string{
		"room everywhere":  {},
		"one without room": {"machine-couchdb-2": "OutOfcpu"},
		"none with room":   {"machine-couchdb-1": "OutOfmemory", "machine-couchdb-2": "OutOfcpu", "machine-couchdb-3": "OutOfcpu"},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			made := map[string]int{}
			c := interceptor.NewClient(fake.NewClientBuilder().WithStatusSubresource(&corev1.Pod{}).Build(), interceptor.Funcs{
				Create: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.CreateOption) error {
					if err := c.Create(ctx, o, opts...); err != nil {
						return err
					}
					pod, ok := o.(*corev1.Pod)
					if !ok {
						t.Fatalf("a %T was made", o)
					}
					made[pod.Name]++
					kubelet(pod, full[pod.Spec.NodeName])
					return c.Status().Update(ctx, pod)
				},
			})
			b := &api.Backup{ObjectMeta: metav1.ObjectMeta{Namespace: "medic", Name: "b", UID: "0123456789"}}
			if err := startFreezers(ctx, c, b, nodes, "image"); err != nil {
				t.Fatal(err)
			}
			for _, n := range nodes {
				var pod corev1.Pod
				if err := c.Get(ctx, client.ObjectKey{Namespace: "medic", Name: FreezerPod(b, n, "").Name}, &pod); err != nil {
					t.Fatal(err)
				}
				crowded := full[n.Pod.NodeName] != ""
				wantMade := 1
				if crowded {
					wantMade = 2
				}
				if pod.Status.Phase != corev1.PodRunning || made[pod.Name] != wantMade {
					t.Errorf("%s is %s, made %d times, want %d", pod.Name, pod.Status.Phase, made[pod.Name], wantMade)
				}
				for _, one := range pod.Spec.Containers {
					if asks := !one.Resources.Requests.Cpu().IsZero(); asks == crowded {
						t.Errorf("%s asks for %v on a machine where room is %q", pod.Name, one.Resources.Requests, full[n.Pod.NodeName])
					}
				}
			}
		})
	}
}

// kubelet does with a pod what one does that has no room for requests, or has.
func kubelet(pod *corev1.Pod, noRoom string) {
	if noRoom != "" && len(pod.Spec.Containers[0].Resources.Requests) > 0 {
		pod.Status = corev1.PodStatus{Phase: corev1.PodFailed, Reason: noRoom}
		return
	}
	pod.Status = corev1.PodStatus{Phase: corev1.PodRunning}
	for _, one := range pod.Spec.Containers {
		pod.Status.ContainerStatuses = append(pod.Status.ContainerStatuses, corev1.ContainerStatus{Name: one.Name, State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}})
	}
}
