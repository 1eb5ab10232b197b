package extract

import (
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	api "github.com/medic/cht-backup/api/v1alpha1"
)

// The containers of the pod: fill waits until the files are there, and ends; then
// CouchDB starts, as its image does it.
const (
	fillContainer    = "fill"
	couchDBContainer = "couchdb"

	dataMount   = "/opt/couchdb/data"
	configMount = "/opt/couchdb/etc/local.d"
	// filled is the file that fill waits for. CouchDB reads what ends in .ini alone.
	filled = configMount + "/.filled"
	// settings is read before the file that the image's start script writes.
	settings = configMount + "/00-throw-away.ini"

	// Port of CouchDB.
	Port = "5984"
)

// Spec says what a throw-away CouchDB is like.
type Spec struct {
	Namespace, Name, Image string
	// Bytes of files that it will hold.
	Bytes int64
	// Within bounds its life: Kubernetes ends it then, whatever has become of who made it.
	Within time.Duration
}

// Pod makes it. It joins nothing: CouchDB and Erlang listen on the loopback address of
// the pod, which the API server alone reaches; it has no Service, no account, no peers.
// The password is in none of its fields.
func (s Spec) Pod() *corev1.Pod {
	root, none, no, seconds := int64(0), int64(0), false, int64(s.Within.Seconds())
	mounts := []corev1.VolumeMount{{Name: "data", MountPath: dataMount}, {Name: "config", MountPath: configMount}}
	room := corev1.ResourceList{
		corev1.ResourceCPU: resource.MustParse("100m"), corev1.ResourceMemory: resource.MustParse("256Mi"),
		// Some more than the files: CouchDB writes its own.
		corev1.ResourceEphemeralStorage: *resource.NewQuantity(s.Bytes+s.Bytes/10+64<<20, resource.BinarySI),
	}
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: s.Namespace, Name: s.Name,
			Labels: map[string]string{api.ThrowAwayLabel: s.Name, "app.kubernetes.io/managed-by": "kubectl-cht"}},
		Spec: corev1.PodSpec{
			RestartPolicy: corev1.RestartPolicyNever, ActiveDeadlineSeconds: &seconds, TerminationGracePeriodSeconds: &none,
			AutomountServiceAccountToken: &no, EnableServiceLinks: &no,
			// As the CHT runs it: the start script gives the files to their owner.
			SecurityContext: &corev1.PodSecurityContext{RunAsUser: &root, SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault}},
			InitContainers: []corev1.Container{{
				Name: fillContainer, Image: s.Image, ImagePullPolicy: corev1.PullIfNotPresent,
				Command:      []string{"sh", "-c", "until [ -e " + filled + " ]; do sleep 0.2; done"},
				VolumeMounts: mounts, Resources: corev1.ResourceRequirements{Requests: room},
			}},
			Containers: []corev1.Container{{
				Name: couchDBContainer, Image: s.Image, ImagePullPolicy: corev1.PullIfNotPresent,
				Env: []corev1.EnvVar{
					{Name: "ERL_FLAGS", Value: "-kernel inet_dist_use_interface {127,0,0,1}"},
					{Name: "ERL_EPMD_ADDRESS", Value: "127.0.0.1"},
				},
				VolumeMounts: mounts, Resources: corev1.ResourceRequirements{Requests: room},
				TerminationMessagePolicy: corev1.TerminationMessageFallbackToLogsOnError,
			}},
			Volumes: []corev1.Volume{
				{Name: "data", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}},
				{Name: "config", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}},
			},
		},
	}
}

// admin is the name of the administrator, who is the throw-away's own.
const admin = "throw-away"

// configuration is what makes CouchDB the one of nobody. Compaction would drop the
// earlier revisions that somebody is looking for.
func configuration(password string) string {
	text := "[admins]\n" + admin + " = " + password + "\n\n[chttpd]\nbind_address = 127.0.0.1\n\n[cluster]\nn = 1\n"
	for _, channel := range []string{"ratio_dbs", "slack_dbs", "upgrade_dbs", "ratio_views", "slack_views", "upgrade_views"} {
		text += "\n[smoosh." + channel + "]\nconcurrency = 0\n"
	}
	return text
}

// hopeless are reasons for which a container waits in vain.
var hopeless = []string{"ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull", "ImageInspectError", "CreateContainerConfigError", "CreateContainerError", "RunContainerError"}

// stage tells what a pod still waits for until a container of its runs, "" once it does;
// or why it never will.
func stage(pod *corev1.Pod, container string) (waitingFor string, err error) {
	what := "pod " + pod.Namespace + "/" + pod.Name
	statuses := slices.Concat(pod.Status.InitContainerStatuses, pod.Status.ContainerStatuses)
	for _, c := range statuses {
		if t := c.State.Terminated; t != nil && (t.ExitCode != 0 || c.Name == couchDBContainer) {
			return "", fmt.Errorf("%s: container %s ended with code %d (%s): %s", what, c.Name, t.ExitCode, t.Reason, last(t.Message))
		}
	}
	if pod.DeletionTimestamp != nil {
		return "", fmt.Errorf("%s is being deleted by somebody", what)
	}
	if pod.Status.Phase == corev1.PodFailed {
		return "", fmt.Errorf("%s failed: %s %s", what, pod.Status.Reason, pod.Status.Message)
	}
	for _, c := range statuses {
		if w := c.State.Waiting; w != nil && slices.Contains(hopeless, w.Reason) {
			return "", fmt.Errorf("%s cannot start container %s: %s: %s", what, c.Name, w.Reason, w.Message)
		}
		if c.Name == container && c.State.Running != nil {
			return "", nil
		}
	}
	for _, c := range pod.Status.Conditions {
		if c.Type == corev1.PodScheduled && c.Status == corev1.ConditionFalse {
			return fmt.Sprintf("a machine for %s (%s)", what, c.Message), nil
		}
	}
	for _, c := range statuses {
		if w := c.State.Waiting; w != nil && c.Name == container {
			return fmt.Sprintf("container %s of %s (%s %s)", container, what, w.Reason, w.Message), nil
		}
	}
	return fmt.Sprintf("container %s of %s", container, what), nil
}

// last gives the end of what a container said.
func last(text string) string {
	const most = 600
	text = strings.TrimSpace(text)
	if len(text) > most {
		text = "…" + text[len(text)-most:]
	}
	return text
}
