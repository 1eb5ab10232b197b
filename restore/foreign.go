package restore

import (
	"context"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/snapshot/reason"
)

// enforceLabel is the pod security level that a namespace's pods must keep.
const enforceLabel = "pod-security.kubernetes.io/enforce"

// harmless are the capabilities that the level baseline lets a container add.
var harmless = []corev1.Capability{"AUDIT_WRITE", "CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "MKNOD", "NET_BIND_SERVICE", "SETFCAP", "SETGID", "SETPCAP", "SETUID", "SYS_CHROOT"}

// wantsOfNode says what pods want that gives them their machine, or more of it than a
// pod's: what the level baseline forbids. nil is nothing.
func wantsOfNode(spec corev1.PodSpec) (wants []string) {
	for what, has := range map[string]bool{"hostNetwork": spec.HostNetwork, "hostPID": spec.HostPID, "hostIPC": spec.HostIPC} {
		if has {
			wants = append(wants, what)
		}
	}
	for _, v := range spec.Volumes {
		if v.HostPath != nil {
			wants = append(wants, fmt.Sprintf("hostPath %.100q", v.HostPath.Path))
		}
	}
	for _, c := range slices.Concat(spec.InitContainers, spec.Containers) {
		for _, p := range c.Ports {
			if p.HostPort != 0 {
				wants = append(wants, fmt.Sprintf("hostPort %d", p.HostPort))
			}
		}
		s := c.SecurityContext
		if s == nil {
			continue
		}
		if s.Privileged != nil && *s.Privileged {
			wants = append(wants, "privileged")
		}
		if s.ProcMount != nil && *s.ProcMount == corev1.UnmaskedProcMount {
			wants = append(wants, "procMount Unmasked")
		}
		if s.Capabilities != nil {
			for _, add := range s.Capabilities.Add {
				if !slices.Contains(harmless, add) {
					wants = append(wants, fmt.Sprintf("capability %.40q", string(add)))
				}
			}
		}
	}
	slices.Sort(wants)
	return slices.Compact(wants)
}

// contained refuses the pods of a record that was read outside of this cluster where they
// want their machine: whoever can write to that place would have it, for the controller
// makes them with its own rights. Who means it says so on the namespace.
func (r *Reconciler) contained(ctx context.Context, w *work) error {
	if w.record.ImportedFrom == "" {
		return nil // of objects that somebody was let make in this cluster
	}
	var found []string
	for _, o := range w.target {
		if !isWorkload(o) {
			continue
		}
		spec, err := podSpec(o)
		if err != nil {
			return reason.Refuse(api.ReasonObjectsFailed, "%s %s of the backup has no pods that can be read: %w", o.GetKind(), o.GetName(), err)
		}
		if wants := wantsOfNode(spec); len(wants) > 0 {
			found = append(found, fmt.Sprintf("%s %s wants %s", o.GetKind(), o.GetName(), strings.Join(wants, ", ")))
		}
	}
	if len(found) == 0 {
		return nil
	}
	var namespace corev1.Namespace
	if err := r.Client.Get(ctx, client.ObjectKey{Name: w.restore.Namespace}, &namespace); err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("get namespace %s: %w", w.restore.Namespace, err)
	}
	if namespace.Labels[enforceLabel] == "privileged" {
		w.caution("%s, as the record from %s says: its pods can take over their machine", strings.Join(found, "; "), w.record.ImportedFrom)
		return nil
	}
	return reason.Refuse(api.ReasonNotAllowed, "%s, with which its pods could take over their machine, and the record was read from %s: whoever can write there decides. If it is meant, label namespace %s %s=privileged",
		strings.Join(found, "; "), w.record.ImportedFrom, w.restore.Namespace, enforceLabel)
}
