package restore

import (
	"fmt"
	"path"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/snapshot/catalog"
	"github.com/medic/cht-backup/snapshot/file/link"
)

const (
	rolePrepare = "prepare-volume"
	volumePath  = "/volume"
	// scratchPath is where a filler keeps what is none of the volume's.
	scratchPath = "/scratch"
	// credentialsPath is where a prepare-volume pod finds new credentials.
	credentialsPath = "/credentials"
)

// preparePod runs prepare-volume on one claim. It is root, since the files are
// CouchDB's, but with no more than what changing them needs.
func (w *work) preparePod(node catalog.Node, image string) *corev1.Pod {
	command := []string{"/cht-backup", "prepare-volume", "--data", path.Join(volumePath, node.DataSubPath)}
	if node.ConfigOnVolume {
		command = append(command, "--config", path.Join(volumePath, node.ConfigSubPath))
	}
	if len(w.record.Nodes) > 1 {
		command = append(command, "--cluster")
	}
	if w.isClone() {
		command = append(command, "--hold-replication")
	}
	pod := ourPod(w.restore, rolePrepare, node.Service, image, command)
	w.place(&pod.Spec, node.Service)
	root, no := int64(0), false
	pod.Spec.Containers[0].SecurityContext.RunAsUser = &root
	pod.Spec.Containers[0].SecurityContext.RunAsNonRoot = &no
	pod.Spec.Containers[0].SecurityContext.Capabilities.Add = []corev1.Capability{"DAC_OVERRIDE", "CHOWN", "FOWNER"}
	pod.Spec.Containers[0].VolumeMounts = []corev1.VolumeMount{{Name: "volume", MountPath: volumePath}}
	pod.Spec.Volumes = []corev1.Volume{{Name: "volume", VolumeSource: corev1.VolumeSource{
		PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: node.Claim}}}}
	if filled(w.restore, node.Service) != nil {
		pod.Spec.InitContainers = []corev1.Container{filler(pod.Spec.Containers[0], node)}
		pod.Spec.Volumes = append(pod.Spec.Volumes, corev1.Volume{Name: "scratch", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}})
	}
	if w.rotates() && node.ConfigOnVolume {
		mountRotation(w.restore, &pod.Spec)
	}
	return pod
}

// filler is the container that takes the files of a volume, before it is prepared.
func filler(like corev1.Container, node catalog.Node) corev1.Container {
	c := *like.DeepCopy()
	c.Name = fillContainer
	c.Command = []string{"/cht-backup", "fill", "serve", "--volume", volumePath, "--scratch", scratchPath, "--tree", node.File.Tree, "--data", node.DataSubPath}
	if node.ConfigOnVolume {
		c.Command = append(c.Command, "--config", node.ConfigSubPath)
	}
	c.Ports = []corev1.ContainerPort{{Name: fillContainer, ContainerPort: link.Port}}
	c.VolumeMounts = append(c.VolumeMounts, corev1.VolumeMount{Name: "scratch", MountPath: scratchPath})
	return c
}

// place puts a pod where the node's own will be: it is the first to use the
// volume, so that the volume comes to be where that is.
func (w *work) place(pod *corev1.PodSpec, service string) {
	for _, o := range w.target {
		if !isWorkload(o) || component(o) != service {
			continue
		}
		spec, err := podSpec(o)
		if err != nil {
			return // applying the workload will say what is wrong with it
		}
		placeLike(pod, spec)
	}
}

// placeLike lets a pod run where pods of that kind may.
func placeLike(pod *corev1.PodSpec, like corev1.PodSpec) {
	pod.NodeSelector, pod.Tolerations = like.NodeSelector, like.Tolerations
	if like.Affinity != nil && like.Affinity.NodeAffinity != nil {
		pod.Affinity = &corev1.Affinity{NodeAffinity: like.Affinity.NodeAffinity}
	}
}

func ourPod(restore *api.Restore, role, node, image string, command []string) *corev1.Pod {
	no, yes, user := false, true, int64(65532)
	l := labels(restore, node)
	l[api.RoleLabel] = role
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: restore.Namespace, Name: fmt.Sprintf("cht-%s-%.8s-%s", role, restore.UID, node), Labels: l},
		Spec: corev1.PodSpec{
			RestartPolicy: corev1.RestartPolicyNever, AutomountServiceAccountToken: &no,
			Containers: []corev1.Container{{
				Name: role, Image: image, ImagePullPolicy: corev1.PullIfNotPresent, Command: command,
				TerminationMessagePolicy: corev1.TerminationMessageFallbackToLogsOnError,
				SecurityContext: &corev1.SecurityContext{RunAsUser: &user, RunAsNonRoot: &yes, ReadOnlyRootFilesystem: &yes, AllowPrivilegeEscalation: &no,
					Capabilities: &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}}, SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault}},
			}},
		},
	}
}

func terminationMessage(pod corev1.Pod) string {
	for _, c := range pod.Status.InitContainerStatuses {
		if t := c.State.Terminated; t != nil && t.ExitCode != 0 {
			return strings.TrimSpace(t.Message)
		}
	}
	for _, c := range pod.Status.ContainerStatuses {
		if t := c.State.Terminated; t != nil && (t.ExitCode != 0 || t.Message != "") {
			return strings.TrimSpace(t.Message)
		}
	}
	return strings.TrimSpace(pod.Status.Reason + " " + pod.Status.Message)
}

// podTrouble says why a pod does not run yet, as far as the API knows.
func podTrouble(pod corev1.Pod) string {
	for _, c := range pod.Status.Conditions {
		if c.Type == corev1.PodScheduled && c.Status == corev1.ConditionFalse {
			return c.Message
		}
	}
	for _, c := range slices.Concat(pod.Status.InitContainerStatuses, pod.Status.ContainerStatuses) {
		if w := c.State.Waiting; w != nil {
			return strings.TrimSpace(w.Reason + " " + w.Message)
		}
	}
	return string(pod.Status.Phase)
}
