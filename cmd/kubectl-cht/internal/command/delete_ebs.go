package command

import (
	"context"
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/cmd/kubectl-cht/internal/exit"
	"github.com/medic/cht-backup/snapshot/catalog"
	"github.com/medic/cht-backup/snapshot/ebs"
	"github.com/medic/cht-backup/snapshot/ebs/account"
	"github.com/medic/cht-backup/snapshot/ebs/tags"
)

// cutByEBS gives what EC2 has of a backup, as its record tells, in the form of the
// Backup that is gone; nil if it has nothing.
func (e *Env) cutByEBS(ctx context.Context, c client.Client, head catalog.Head) (*api.Backup, error) {
	if !head.EBS {
		return nil, nil
	}
	what := fmt.Sprintf("backup %s/%s", head.Namespace, head.Name)
	record, err := e.records(c).Get(ctx, head.Secret)
	if err != nil {
		return nil, exit.Explain(fmt.Sprintf("read which EBS snapshots are of %s; if the record is beyond repair, delete them by their tag %s=%s and then secret %s", what, tags.BackupUID, head.UID, head.Secret), err)
	}
	b := &api.Backup{ObjectMeta: metav1.ObjectMeta{Namespace: head.Namespace, Name: head.Name, UID: head.UID}}
	for _, n := range record.Nodes {
		if n.Method == api.MethodEBS && n.EBS != nil {
			b.Status.Volumes = append(b.Status.Volumes, api.VolumeStatus{Node: n.Service, Claim: n.Claim, Method: api.MethodEBS, Handle: n.SnapshotHandle, EBS: n.EBS})
		}
	}
	return b, nil
}

// deleteEBS deletes the snapshots that EC2 has of a backup, with the user's own AWS
// credentials. Those that are not provably of that backup stay.
func (e *Env) deleteEBS(ctx context.Context, b *api.Backup) error {
	if b == nil || len(b.Status.Volumes) == 0 {
		return nil
	}
	what := fmt.Sprintf("backup %s/%s", b.Namespace, b.Name)
	if left, err := e.DiscardEBS(ctx, b); err != nil || left > 0 {
		if err == nil {
			err = fmt.Errorf("%d snapshots are still there", left)
		}
		return exit.Errorf(exit.Refused, "delete the EBS snapshots of %s: %w; its record is kept until they are gone. A lock ends by itself or is lifted with `aws ec2 unlock-snapshot`; then run this again", what, err)
	}
	e.note("copies in other Regions and accounts, if there were any, stay: `aws ec2 describe-snapshots --owner-ids self --filters Name=tag:%s,Values=%s --region REGION` finds them", tags.BackupUID, b.UID)
	return nil
}

// discardEBS deletes with the user's credentials.
func discardEBS(version string) func(context.Context, *api.Backup) (int, error) {
	return func(ctx context.Context, b *api.Backup) (int, error) {
		s := &ebs.Snapshotter{Cloud: ebs.On(account.New(account.Settings{Version: version}))}
		return s.Discard(ctx, b)
	}
}

// forgetImported removes a record that another cluster wrote. Its snapshots are that
// cluster's.
func (e *Env) forgetImported(ctx context.Context, c client.Client, head catalog.Head, d deletion) error {
	what := head.Namespace + "/" + head.Name
	if !d.yes {
		if err := e.confirm(ctx, head.Namespace, head.Name, fmt.Sprintf("The record of backup %s (cut %s) was imported from %q. This deletes it here; the snapshots and what it was read from stay.",
			what, head.CutTime, head.ImportedFrom)); err != nil {
			return err
		}
	}
	if err := e.records(c).Delete(ctx, head.UID); err != nil {
		return exit.Explain("delete the imported record of backup "+what, err)
	}
	return writeLines(e.Out, []string{fmt.Sprintf("backup %s: the record that was imported from %q is deleted here; its snapshots stay", what, head.ImportedFrom)})
}
