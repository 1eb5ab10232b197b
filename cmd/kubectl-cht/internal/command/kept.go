package command

import (
	"context"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/cmd/kubectl-cht/internal/exit"
	"github.com/medic/cht-backup/snapshot/catalog"
)

// kept is a backup: the object, or the record that is left of one.
type kept struct {
	backup *api.Backup // nil when only the record is left
	record catalog.Head
}

// hold gives why it is held.
func (k kept) hold() (why string, held bool) {
	if k.backup == nil {
		return k.record.Hold, k.record.Hold != ""
	}
	why, held = k.backup.Annotations[api.HoldAnnotation]
	return why, held
}

// findKept finds the Backup of that name, or the record of one that is gone. With a
// UID it is that one and no other.
func (e *Env) findKept(ctx context.Context, c client.Client, key client.ObjectKey, uid types.UID) (kept, error) {
	var b api.Backup
	err := c.Get(ctx, key, &b)
	switch {
	case err == nil && (uid == "" || uid == b.UID):
		return kept{backup: &b}, nil
	case err != nil && !apierrors.IsNotFound(err):
		return kept{}, exit.Explain(fmt.Sprintf("get backup %s", key), err)
	}
	heads, err := e.kept(ctx, c, key.Namespace)
	if apierrors.IsForbidden(err) {
		return kept{}, exit.Errorf(exit.Refused, "there is no Backup %s, and you may not look for its record in %s: %w; ask whoever administers cht-backup to run this command", key, e.SystemNamespace, err)
	} else if err != nil {
		return kept{}, exit.Explain(fmt.Sprintf("look for the record of backup %s", key), err)
	}
	head, err := pick(heads, api.BackupReference{Namespace: key.Namespace, Name: key.Name, UID: uid})
	return kept{record: head}, err
}
