package snapshot

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	api "github.com/medic/cht-backup/api/v1alpha1"
)

// thawing is the command that thaws in a freezer pod, in its container freezer: that it
// runs shows also that the guard there lives, which thaws when the pod is deleted.
var thawing = []string{"/cht-backup", "freezer", "thaw"}

const (
	// thawWithin bounds one such command.
	thawWithin = 5 * time.Second
	// thawPatience is how long a freezer pod that does not thaw is left, for kubelet to
	// start it again. Then it goes all the same: its machine is gone, or its volume.
	thawPatience = time.Minute
)

// letGo has the volumes thawed before the freezer pods of an attempt that failed are
// deleted. Both containers of a pod may have been killed while it held: kubelet starts
// them again, and they thaw. If the pod were deleted before, nobody would.
func (r *Reconciler) letGo(ctx context.Context, b *api.Backup) error {
	var pods corev1.PodList
	if err := r.Client.List(ctx, &pods, client.InNamespace(b.Namespace), client.MatchingLabels{api.BackupUIDLabel: string(b.UID), api.RoleLabel: RoleFreezer}); err != nil {
		return fmt.Errorf("list freezer pods: %w", err)
	}
	var frozen error
	for _, p := range pods.Items {
		if p.Status.Phase == corev1.PodRunning && p.DeletionTimestamp == nil {
			frozen = errors.Join(frozen, r.thaw(ctx, &p))
		}
	}
	if frozen == nil {
		r.unthawed.Delete(b.UID)
		return nil
	}
	since, waited := r.unthawed.LoadOrStore(b.UID, r.Now())
	if at, ok := since.(time.Time); waited && ok && r.Now().Sub(at) > thawPatience {
		return nil
	}
	return frozen
}

func (r *Reconciler) thaw(ctx context.Context, p *corev1.Pod) error {
	ctx, cancel := context.WithTimeout(ctx, thawWithin)
	defer cancel()
	if err := r.Run(ctx, p.Namespace, p.Name, "freezer", thawing, nil, io.Discard); err != nil {
		return fmt.Errorf("the volume beside pod %s may be frozen until a container of it has been started again: %w", p.Name, err)
	}
	return nil
}

// Run runs a command in a container and waits for its end, as podexec.Runner does.
type Run func(ctx context.Context, namespace, pod, container string, command []string, stdin io.Reader, stdout io.Writer) error
