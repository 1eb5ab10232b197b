package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	snapv1 "github.com/kubernetes-csi/external-snapshotter/client/v8/apis/volumesnapshot/v1"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/integration/cht"
)

// lose notes the source's last state and destroys it, unless it shall be cloned.
func (r *run) lose(ctx context.Context) error {
	what, why := "Everything is lost", "The CHT's whole namespace is deleted: pods, volumes, passwords. The snapshots and the backup's record must stay."
	if r.cfg.clone {
		what, why = "The source stays", "It runs on beside its copy, which must neither join it nor change anything in it."
	}
	r.s.numbered(what, why)
	var err error
	if r.before, err = r.dump(ctx, r.source.Namespace); err != nil {
		return err
	}
	r.s.good("noted for the comparison: id and revision of %s documents in %d databases (all but _global_changes, which CouchDB writes by itself)", count(len(r.before.Docs)), len(r.before.Deleted))
	r.lostAt = time.Now()
	if r.cfg.clone {
		return nil
	}
	r.s.command("kubectl delete namespace " + r.source.Namespace)
	if err := r.c.DeleteNamespace(ctx, r.source.Namespace); err != nil {
		return err
	}
	r.s.good("the namespace is gone%s", took(r.lostAt))
	contents, records, err := r.kept(ctx)
	if err != nil {
		return err
	}
	if len(contents) < backups*r.cfg.nodes || len(records) < backups {
		return fmt.Errorf("%d snapshots and %d records of the backups are left; the namespace took them along", len(contents), len(records))
	}
	r.s.good("still there: %d of %d snapshots in the storage, and the backups' records in %s", len(contents), backups*r.cfg.nodes, r.system())
	return r.kubectl.run(ctx, "list", "-n", r.source.Namespace)
}

// kept lists what is there of the backup outside its namespace.
func (r *run) kept(ctx context.Context) ([]snapv1.VolumeSnapshotContent, []corev1.Secret, error) {
	var contents snapv1.VolumeSnapshotContentList
	var secrets corev1.SecretList
	err := errors.Join(r.c.Client.List(ctx, &contents),
		r.c.Client.List(ctx, &secrets, client.InNamespace(r.system()), client.MatchingLabels{api.SourceNamespaceLabel: r.source.Namespace}))
	if err != nil {
		return nil, nil, fmt.Errorf("look for what is kept of the backup: %w", err)
	}
	var ours []snapv1.VolumeSnapshotContent
	for _, one := range contents.Items {
		if one.Spec.VolumeSnapshotRef.Namespace == r.source.Namespace {
			ours = append(ours, one)
		}
	}
	return ours, secrets.Items, nil
}

func (r *run) restore(ctx context.Context) error {
	what, why := "It is restored into another namespace, for real", "New volumes from the snapshots, CouchDB's nodes under new names, every database checked; only then does anything else start."
	args := []string{"restore", "--from", r.source.Namespace + "/" + backupName, "--to", r.target.Namespace}
	if r.cfg.clone {
		what = "It is restored beside its source, closed in"
		if r.c.Local {
			var err error
			if r.packets, err = r.c.CountPackets(ctx); err != nil {
				return err
			}
			defer func() { _ = r.packets.Close() }() // what it counted is known by then
		}
	} else {
		args = append(args, "--go-live")
	}
	r.s.numbered(what, why)
	if err := r.kubectl.run(ctx, args...); err != nil {
		return err
	}
	var list api.RestoreList
	if err := r.c.Client.List(ctx, &list, client.InNamespace(r.target.Namespace)); err != nil {
		return fmt.Errorf("read the restore: %w", err)
	}
	if len(list.Items) != 1 || list.Items[0].Status.StartTime == nil || list.Items[0].Status.CompletionTime == nil {
		return fmt.Errorf("%d restores in %s, want one that is complete", len(list.Items), r.target.Namespace)
	}
	status := list.Items[0].Status
	r.res.restored = status.CompletionTime.Sub(status.StartTime.Time)
	if err := r.waitReady(ctx); err != nil {
		return err
	}
	r.res.back = time.Since(r.lostAt)
	if r.packets != nil {
		r.add(r.silence())
	}
	return nil
}

// waitReady waits until the copy answers where its users would ask.
func (r *run) waitReady(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, 3*time.Minute, errors.New("it did not answer within 3 minutes after the restore was complete"))
	defer cancel()
	if err := cht.WaitReady(ctx, r.c.Client, r.target, r.c.Transport()); err != nil {
		return fmt.Errorf("use the restored CHT: %w", err)
	}
	return nil
}

// silence sees that source and clone never exchanged a packet.
func (r *run) silence() finding {
	f := finding{what: "no packet went between the source and its copy"}
	n, err := r.packets.Between(r.source.Namespace, r.target.Namespace)
	switch {
	case err != nil:
		f.problem("packets were not counted: %v", err)
	case n > 0:
		f.problem("%d packets: %v", n, r.packets.Flows(r.source.Namespace, r.target.Namespace))
	}
	return f
}
