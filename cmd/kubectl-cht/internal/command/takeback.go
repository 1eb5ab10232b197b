package command

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"sigs.k8s.io/controller-runtime/pkg/client"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/cmd/kubectl-cht/internal/exit"
	"github.com/medic/cht-backup/cmd/kubectl-cht/internal/follow"
)

// traces are what was made for a restore, to be taken back while it has not begun.
type traces struct {
	grant   grant
	granted bool
	// namespace that was created for it.
	namespace *corev1.Namespace
	// sent tells that the API server was asked to create the Restore.
	sent bool
	// restore as it was created; nil before.
	restore *api.Restore
}

// goneWithin bounds the wait for the end of each thing that is taken back.
const goneWithin = time.Minute

// takeBack removes the traces of a restore that has not begun, the Restore first,
// since the controller reads the others for it. It works on after Ctrl-C, and
// tells what it had to leave.
func (e *Env) takeBack(ctx context.Context, c client.WithWatch, made *traces) (left []string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 3*goneWithin)
	defer cancel()
	leave := func(what string, err error) {
		if err != nil {
			left = append(left, fmt.Sprintf("%s (%s)", what, oneLine(err)))
		}
	}
	if r := made.restore; r != nil {
		leave(fmt.Sprintf("restore %s/%s, which does nothing as long as spec.planOnly is true", r.Namespace, r.Name), e.remove(ctx, c, r, &api.RestoreList{}))
	}
	if made.granted {
		leave("the target in the allowed namespaces of the backup", made.grant.take(ctx))
	}
	if n := made.namespace; n != nil {
		err := onlyOurs(ctx, c, n.Name)
		if err == nil {
			err = e.remove(ctx, c, n, &corev1.NamespaceList{})
		}
		leave("namespace "+n.Name, err)
	}
	return left
}

// remove deletes that object and no other, and waits until it is gone.
func (e *Env) remove(ctx context.Context, c client.WithWatch, o client.Object, list client.ObjectList) error {
	ctx, cancel := context.WithTimeout(ctx, goneWithin)
	defer cancel()
	uid := o.GetUID()
	if err := c.Delete(ctx, o, client.Preconditions{UID: &uid}); apierrors.IsNotFound(err) {
		return nil
	} else if err != nil {
		return err
	}
	// Whoever may not watch it is not kept waiting.
	err := follow.Until(ctx, c, list, client.ObjectKeyFromObject(o), uid, e.Follow, func(client.Object) bool { return false })
	if errors.Is(err, context.DeadlineExceeded) {
		return errors.New("it is still being deleted")
	}
	if errors.Is(err, follow.ErrGone) || apierrors.IsForbidden(err) {
		return nil
	}
	return err
}

// onlyOurs refuses to delete a namespace, just made, in which somebody has begun
// to work.
func onlyOurs(ctx context.Context, c client.Client, namespace string) error {
	workload, err := findCHT(ctx, c, namespace)
	if err != nil {
		return err
	}
	if workload != "" {
		return fmt.Errorf("it holds %s by now", workload)
	}
	for what, list := range map[string]client.ObjectList{"a restore": &api.RestoreList{}, "a backup": &api.BackupList{}, "a claim": &corev1.PersistentVolumeClaimList{}} {
		if err := c.List(ctx, list, client.InNamespace(namespace), client.Limit(1)); err != nil {
			return err
		}
		if meta.LenList(list) > 0 {
			return fmt.Errorf("it holds %s by now", what)
		}
	}
	return nil
}

// untouched says that nothing was touched, and what could not be taken back.
func untouched(left []string) string {
	if len(left) == 0 {
		return "nothing was touched"
	}
	return "nothing that runs was touched, but there is left: " + strings.Join(left, "; ")
}

// withLeft adds to an error what could not be taken back.
func withLeft(err error, left []string) error {
	if len(left) == 0 {
		return err
	}
	return exit.Errorf(exit.Of(err), "%w; there is left: %s", err, strings.Join(left, "; "))
}
