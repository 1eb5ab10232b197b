package file

import (
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/snapshot"
	"github.com/medic/cht-backup/snapshot/beside"
	"github.com/medic/cht-backup/snapshot/cht"
	"github.com/medic/cht-backup/snapshot/file/link"
)

const (
	// Container is the copier's in its pod.
	Container = "copier"

	// copierWithin bounds the start of the copier pods.
	copierWithin = 90 * time.Second
	// idle ends a copier that nobody asks for anything: its controller never came back.
	// It is longer than another controller takes to be elected and to find it.
	idle = 15 * time.Minute
	// longestLife ends a copier whatever happens. Held files keep their space.
	longestLife = 72*time.Hour + time.Hour

	volumePath  = "/volume"
	scratchPath = "/scratch"
)

// copierShare is what a copier asks of its machine. It reads as fast as it is let; what
// it must not be is last in line while every node is held still for it.
var copierShare = corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("50m"), corev1.ResourceMemory: resource.MustParse("64Mi")}

// CopierPod is the pod that one CouchDB node's files are copied out of. It runs on the
// same machine and mounts the same claim, which ReadWriteOnce allows, read-only. It is
// root without any capability but to read what is another's, and without credentials of
// the cluster.
func CopierPod(b *api.Backup, node cht.Node, image string) *corev1.Pod {
	no, yes, root, grace := false, true, int64(0), int64(5)
	life := int64(min(b.Spec.ReadyTimeout.Duration+time.Hour, longestLife).Seconds())
	command := []string{"/cht-backup", "copier", "serve", "--volume", volumePath, "--scratch", scratchPath, "--data", node.DataSubPath, "--idle", idle.String()}
	if node.ConfigOnVolume {
		command = append(command, "--config", node.ConfigSubPath)
	}
	return &corev1.Pod{
		ObjectMeta: beside.Meta(b, snapshot.RoleCopier, node.Service),
		Spec: corev1.PodSpec{
			// Set directly: the volume is attached there, so there is nothing to schedule.
			NodeName:                      node.Pod.NodeName,
			Tolerations:                   []corev1.Toleration{{Operator: corev1.TolerationOpExists}},
			RestartPolicy:                 corev1.RestartPolicyNever, // what it held is gone with it
			AutomountServiceAccountToken:  &no,
			EnableServiceLinks:            &no,
			ActiveDeadlineSeconds:         &life,
			TerminationGracePeriodSeconds: &grace,
			Containers: []corev1.Container{{
				Name: Container, Image: image, ImagePullPolicy: corev1.PullIfNotPresent,
				Command:   command,
				Ports:     []corev1.ContainerPort{{Name: "copier", ContainerPort: link.Port}},
				Resources: corev1.ResourceRequirements{Requests: copierShare.DeepCopy()},
				SecurityContext: &corev1.SecurityContext{
					RunAsUser: &root, RunAsNonRoot: &no, ReadOnlyRootFilesystem: &yes, AllowPrivilegeEscalation: &no,
					Capabilities:   &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}, Add: []corev1.Capability{"DAC_OVERRIDE"}},
					SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
				},
				VolumeMounts: []corev1.VolumeMount{{Name: "volume", MountPath: volumePath, ReadOnly: true}, {Name: "scratch", MountPath: scratchPath}},
			}},
			Volumes: []corev1.Volume{
				{Name: "volume", VolumeSource: corev1.VolumeSource{PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: node.Claim.Name}}},
				{Name: "scratch", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}},
			},
		},
	}
}
