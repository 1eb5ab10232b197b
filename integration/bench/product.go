package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/rand"
	"sigs.k8s.io/controller-runtime/pkg/client"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/integration/harness"
	"github.com/medic/cht-backup/snapshot/await"
)

const (
	backupWithin = 5 * time.Minute
	goneWithin   = 2 * time.Minute
)

// product takes a backup with the product, and removes it again. Only the backup
// itself is in the sample's figures, not its removal.
func (s *stage) product(ctx context.Context, one *sample) error {
	spec := api.BackupSpec{Quiesce: one.mode(), MaxStall: metav1.Duration{Duration: s.o.maxStall}, Attempts: 1, VolumeSnapshotClassName: s.classes[one.driver]}
	if one.way == wayFile {
		spec.Method, spec.VolumeSnapshotClassName = api.MethodFile, nil
	}
	before, err := read(ctx, s.c)
	if err != nil {
		return err
	}
	peaks := func() {}
	if one.way == wayFile && s.c.Local {
		copiers, controller := watchPeaks(copierCommand), watchPeaks(controllerCommand)
		peaks = func() { one.copiers, one.controller = copiers(), controller() }
	}
	one.began = time.Now()
	b, err := s.c.CreateBackup(ctx, s.namespace, "bench-"+rand.String(6), spec)
	if err != nil {
		peaks()
		return err
	}
	done, err := s.c.WaitBackup(ctx, b, backupWithin, nil)
	one.done = time.Now()
	peaks()
	if err == nil {
		err = one.learn(done)
	}
	after, readErr := read(ctx, s.c)
	if readErr == nil {
		one.used = after.since(before)
	}
	return errors.Join(err, readErr, removeBackup(ctx, s.c, b))
}

// mode is how the product holds the nodes.
func (s *sample) mode() api.Quiesce {
	if s.way == wayFile {
		return api.QuiescePause
	}
	return api.Quiesce(s.way)
}

// learn takes the moments from a backup's status.
func (s *sample) learn(b *api.Backup) error {
	t := b.Status.Timeline
	if b.Status.Phase != api.PhaseCompleted || t == nil {
		return fmt.Errorf("backup %s/%s is %s: %s: %s", b.Namespace, b.Name, b.Status.Phase, harness.Reason(b.Status.Conditions), message(b))
	}
	if b.Status.QuiesceMode != s.mode() {
		return fmt.Errorf("backup %s/%s was taken in mode %s, not %s: %s", b.Namespace, b.Name, b.Status.QuiesceMode, s.mode(), b.Status.QuiesceReason)
	}
	for _, v := range b.Status.Volumes {
		if v.File == nil {
			continue
		}
		s.files += int64(v.File.Files)
		if v.File.Size != nil {
			s.bytes += v.File.Size.Value()
		}
		if v.File.Sent != nil {
			s.sent += v.File.Sent.Value()
		}
	}
	s.start, s.quiesced, s.cut, s.released = t.QuiesceStart.Time, t.Quiesced.Time, t.Cut.Time, t.Released.Time
	return nil
}

func message(b *api.Backup) string {
	for _, c := range b.Status.Conditions {
		if c.Type == api.ConditionReady {
			return c.Message
		}
	}
	return "no condition"
}

// removeBackup deletes a backup and waits until it is gone, and with it its
// snapshots: what is left of one must not slow down the next.
func removeBackup(ctx context.Context, c *harness.Cluster, b *api.Backup) error {
	ctx, cancel := context.WithTimeoutCause(context.WithoutCancel(ctx), goneWithin, fmt.Errorf("it did not go in %s", goneWithin))
	defer cancel()
	if err := c.Client.Delete(ctx, b); client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("delete backup %s/%s: %w", b.Namespace, b.Name, err)
	}
	var list api.BackupList
	return await.List(ctx, c.Client, &list, func() (string, error) {
		if len(list.Items) > 0 {
			return fmt.Sprintf("the end of backup %s/%s", b.Namespace, b.Name), nil
		}
		return "", nil
	}, client.InNamespace(b.Namespace), client.MatchingFields{"metadata.name": b.Name})
}
