package snapshot

import (
	"context"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"sigs.k8s.io/controller-runtime/pkg/client"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/snapshot/beside"
	"github.com/medic/cht-backup/snapshot/cht"
)

const (
	// RoleFreezer is the value of the role label on freezer pods.
	RoleFreezer = "freezer"
	// RoleCopier is that on pods that the files are copied out of.
	RoleCopier = "copier"

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
		ObjectMeta: beside.Meta(b, RoleFreezer, node.Service),
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

// startFreezers creates the freezer pods and waits until all run.
func startFreezers(ctx context.Context, c client.WithWatch, b *api.Backup, nodes []cht.Node, image string) error {
	p := beside.Pods{Client: c, Backup: b, Role: RoleFreezer, Unavailable: api.ReasonQuiesceUnavailable,
		Refused: "the namespace's pod security level must be privileged for mode Freeze; mode Pause needs no such pod"}
	return p.Start(ctx, freezerWithin, func() (pods []*corev1.Pod) {
		for _, node := range nodes {
			pods = append(pods, FreezerPod(b, node, image))
		}
		return pods
	})
}

// thawed removes the freezer pods once they are not needed any more. Where the spec
// rules the freeze out there never was one, and nobody need be asked.
func (r *Reconciler) thawed(ctx context.Context, b *api.Backup) (left int, err error) {
	if b.Spec.Quiesce == api.QuiescePause || b.Spec.Quiesce == api.QuiesceNone {
		return 0, nil
	}
	return beside.Remove(ctx, r.Client, b, RoleFreezer)
}

// freed is thawed for all pods of the backup: nothing is copied any more, either.
func (r *Reconciler) freed(ctx context.Context, b *api.Backup) (left int, err error) {
	if !copies(b) {
		return r.thawed(ctx, b)
	}
	return beside.Remove(ctx, r.Client, b, RoleFreezer, RoleCopier)
}
