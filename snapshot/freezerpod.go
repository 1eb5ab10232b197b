package snapshot

import (
	"context"
	"errors"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/snapshot/await"
	"github.com/medic/cht-backup/snapshot/cht"
	"github.com/medic/cht-backup/snapshot/reason"
)

const (
	// RoleFreezer is the value of the role label on freezer pods.
	RoleFreezer = "freezer"
	// freezerWithin bounds the start of the freezer pods.
	freezerWithin = 90 * time.Second
	// freezerLife ends a freezer pod whose controller never came back.
	freezerLife = 10 * time.Minute
	volumePath  = "/volume"
	scratchPath = "/scratch"
)

// freezerShare is what each container of a freezer asks of its machine. Without a
// request its processes would get next to nothing on a machine that is busy, with the
// very CouchDB that it holds still: its watchdog would not answer in time, and it
// would thaw late.
var freezerShare = corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("50m"), corev1.ResourceMemory: resource.MustParse("32Mi")}

// FreezerPod is the pod that freezes one CouchDB node's volume. It runs on the
// same machine and mounts the same claim, which ReadWriteOnce allows, read-only:
// a freeze needs no write. Two containers, so that nothing that kills the one
// that freezes also kills its watchdog.
func FreezerPod(b *api.Backup, node cht.Node, image string) *corev1.Pod {
	no, yes, root, life, grace := false, true, int64(0), int64(freezerLife.Seconds()), int64(5)
	container := func(name, command string) corev1.Container {
		return corev1.Container{
			Name: name, Image: image, ImagePullPolicy: corev1.PullIfNotPresent,
			Command:   []string{"/cht-backup", "freezer", command},
			Resources: corev1.ResourceRequirements{Requests: freezerShare.DeepCopy()},
			SecurityContext: &corev1.SecurityContext{
				RunAsUser: &root, RunAsNonRoot: &no, ReadOnlyRootFilesystem: &yes, AllowPrivilegeEscalation: &yes,
				Capabilities: &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}, Add: []corev1.Capability{"SYS_ADMIN"}},
			},
			VolumeMounts: []corev1.VolumeMount{{Name: "volume", MountPath: volumePath, ReadOnly: true}, {Name: "scratch", MountPath: scratchPath}},
		}
	}
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: b.Namespace, Name: fmt.Sprintf("cht-freezer-%.8s-%d-%s", b.UID, b.Status.Attempt, node.Service),
			Labels:          map[string]string{api.RoleLabel: RoleFreezer, api.BackupUIDLabel: string(b.UID), api.NodeLabel: node.Service},
			OwnerReferences: []metav1.OwnerReference{*metav1.NewControllerRef(b, api.GroupVersion.WithKind("Backup"))},
		},
		Spec: corev1.PodSpec{
			// Set directly: the volume is attached there, so there is nothing to schedule.
			NodeName:                      node.Pod.NodeName,
			Tolerations:                   []corev1.Toleration{{Operator: corev1.TolerationOpExists}},
			AutomountServiceAccountToken:  &no,
			EnableServiceLinks:            &no,
			ActiveDeadlineSeconds:         &life,
			TerminationGracePeriodSeconds: &grace,
			Containers:                    []corev1.Container{container("freezer", "guard"), container("watchdog", "watch")},
			Volumes: []corev1.Volume{
				{Name: "volume", VolumeSource: corev1.VolumeSource{PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: node.Claim.Name}}},
				{Name: "scratch", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}},
			},
		},
	}
}

// startFreezers creates the freezer pods and waits until all run. A machine that has
// no room for what they ask for gets them without: better a freezer with little time
// than none.
func startFreezers(ctx context.Context, c client.WithWatch, b *api.Backup, nodes []cht.Node, image string) error {
	for _, node := range nodes {
		if err := createFreezer(ctx, c, FreezerPod(b, node, image)); err != nil {
			return err
		}
	}
	ctx, cancel := context.WithTimeoutCause(ctx, freezerWithin, errors.New("it did not start in "+freezerWithin.String()))
	defer cancel()
	turnedAway, err := awaitFreezers(ctx, c, b, len(nodes))
	if err == nil && len(turnedAway) > 0 {
		if err := modestFreezers(ctx, c, b, nodes, image, turnedAway); err != nil {
			return err
		}
		_, err = awaitFreezers(ctx, c, b, len(nodes))
	}
	if err != nil && ctx.Err() != nil {
		return reason.Failed(api.ReasonQuiesceUnavailable, "%w", err)
	}
	return err
}

func createFreezer(ctx context.Context, c client.Client, pod *corev1.Pod) error {
	if err := c.Create(ctx, pod); apierrors.IsForbidden(err) {
		return reason.Failed(api.ReasonQuiesceUnavailable, "the freezer pod is not admitted (the namespace's pod security level must be privileged for mode Freeze; mode Pause needs no such pod): %w", err)
	} else if err != nil && !apierrors.IsAlreadyExists(err) {
		return fmt.Errorf("create freezer pod %s/%s: %w", pod.Namespace, pod.Name, err)
	}
	return nil
}

// awaitFreezers waits until all freezer pods run, or gives those that their machine
// turned away for lack of room.
func awaitFreezers(ctx context.Context, c client.WithWatch, b *api.Backup, count int) (turnedAway map[string]bool, err error) {
	var pods corev1.PodList
	err = await.List(ctx, c, &pods, func() (string, error) {
		turnedAway = map[string]bool{}
		waiting := ""
		if len(pods.Items) < count {
			waiting = "freezer pods"
		}
		for _, pod := range pods.Items {
			if noRoom(pod) {
				turnedAway[pod.Name] = true
			} else if what := notRunning(pod); what != "" {
				waiting = what
			}
		}
		return waiting, nil
	}, freezersOf(b)...)
	return turnedAway, err
}

// modestFreezers puts pods that ask for nothing in the place of those turned away.
func modestFreezers(ctx context.Context, c client.WithWatch, b *api.Backup, nodes []cht.Node, image string, turnedAway map[string]bool) error {
	for _, node := range nodes {
		pod := FreezerPod(b, node, image)
		if !turnedAway[pod.Name] {
			continue
		}
		if err := c.Delete(ctx, pod, client.GracePeriodSeconds(0)); client.IgnoreNotFound(err) != nil {
			return fmt.Errorf("delete freezer pod %s/%s, which its machine has no room for: %w", pod.Namespace, pod.Name, err)
		}
		var left corev1.PodList
		if err := await.List(ctx, c, &left, func() (string, error) {
			for _, one := range left.Items {
				if one.Name == pod.Name && noRoom(one) {
					return "the end of freezer pod " + pod.Name, nil
				}
			}
			return "", nil
		}, freezersOf(b)...); err != nil {
			return err
		}
		for i := range pod.Spec.Containers {
			pod.Spec.Containers[i].Resources = corev1.ResourceRequirements{}
		}
		if err := createFreezer(ctx, c, pod); err != nil {
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

func freezersOf(b *api.Backup) []client.ListOption {
	return []client.ListOption{client.InNamespace(b.Namespace), client.MatchingLabels{api.BackupUIDLabel: string(b.UID), api.RoleLabel: RoleFreezer}}
}

func notRunning(pod corev1.Pod) string {
	if len(pod.Status.ContainerStatuses) < len(pod.Spec.Containers) {
		return fmt.Sprintf("freezer pod %s (%s)", pod.Name, pod.Status.Phase)
	}
	for _, c := range pod.Status.ContainerStatuses {
		if w := c.State.Waiting; w != nil {
			return fmt.Sprintf("freezer pod %s, container %s (%s %s)", pod.Name, c.Name, w.Reason, w.Message)
		}
		if c.State.Running == nil {
			return fmt.Sprintf("freezer pod %s, container %s", pod.Name, c.Name)
		}
	}
	return ""
}

// thawed removes the freezer pods once they are not needed any more. Where the spec
// rules the freeze out there never was one, and nobody need be asked.
func (r *Reconciler) thawed(ctx context.Context, b *api.Backup) (left int, err error) {
	if b.Spec.Quiesce == api.QuiescePause || b.Spec.Quiesce == api.QuiesceNone {
		return 0, nil
	}
	return removeFreezers(ctx, r.Client, b)
}

// removeFreezers deletes the backup's freezer pods and tells how many are left.
func removeFreezers(ctx context.Context, c client.Client, b *api.Backup) (left int, err error) {
	var pods corev1.PodList
	if err := c.List(ctx, &pods, freezersOf(b)...); err != nil {
		return 0, fmt.Errorf("list freezer pods: %w", err)
	}
	for i := range pods.Items {
		if pods.Items[i].DeletionTimestamp == nil {
			if err := c.Delete(ctx, &pods.Items[i]); client.IgnoreNotFound(err) != nil {
				return len(pods.Items), fmt.Errorf("delete freezer pod %s: %w", pods.Items[i].Name, err)
			}
		}
	}
	return len(pods.Items), nil
}
