package snapshot

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/log"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/snapshot/catalog"
	"github.com/medic/cht-backup/snapshot/cht"
	"github.com/medic/cht-backup/snapshot/metrics"
	"github.com/medic/cht-backup/snapshot/quiesce"
	"github.com/medic/cht-backup/snapshot/reason"
)

const (
	// lostEvent is how soon the storage is asked how far it is when no event came.
	lostEvent = 15 * time.Second
	// seldom is how often at least it is asked when it takes long.
	seldom = 2 * time.Minute
)

// askAgain is when a storage is asked again that has had this long: one that needs
// hours is not asked every few seconds for it.
func askAgain(had time.Duration) time.Duration {
	return min(max(lostEvent, had/10), seldom)
}

// attempt tries one cut, from finding the instance to the written record. The
// phase is written down before each part, so that a controller that starts anew
// knows what may have been left behind; an attempt is never picked up half way,
// since its streams are gone.
func (r *Reconciler) attempt(ctx context.Context, b *api.Backup, instance *found) (again time.Duration, err error) {
	b.Status.Attempt++
	r.begun(b)
	b.Status.Nodes = int32(len(instance.Nodes)) //nolint:gosec // a handful
	if err := r.enter(ctx, b, api.PhasePreparing, fmt.Sprintf("attempt %d of %d: looking at the instance", b.Status.Attempt, b.Spec.Attempts)); err != nil {
		return 0, err
	}

	// 1. Read what there is to back up, and refuse what cannot be.
	couch, err := r.joinCluster(ctx, instance.Instance)
	if err != nil {
		return 0, err
	}
	for i := range instance.Nodes {
		instance.Nodes[i].ErlangName = couch.names[i]
	}
	cut, err := r.Snapshotter.Prepare(ctx, b, instance.Nodes)
	if err != nil {
		return 0, err
	}
	defer cut.Done()
	files := r.prepareCopy(ctx, b, instance.Nodes, cut.Volumes)
	defer files.done()
	objects, err := cht.Objects(ctx, r.Client, b.Namespace)
	if err != nil {
		return 0, err
	}

	// 2. Open a stream to every node. From here on the streams' end releases all.
	h, err := r.openHold(ctx, b, instance.Instance, cut.Volumes)
	if err != nil {
		return 0, err
	}
	defer quiesce.CloseAll(h.streams)
	b.Status.QuiesceMode, b.Status.QuiesceReason = h.mode, h.why

	// 3. The last look before the cut: nothing under the hold may read a database.
	before, infos, err := couch.survey(ctx)
	if err != nil {
		return 0, err
	}
	noted := couch.beginFingerprint(ctx, b.Spec.Fingerprint, before.Counts, infos)
	b.Status.Volumes = cut.Volumes // whoever cleans up after us must know where to look
	if err := r.enter(ctx, b, api.PhaseCutting, fmt.Sprintf("attempt %d: quiesce %s, cutting %d volumes", b.Status.Attempt, h.mode, len(instance.Nodes))); err != nil {
		return 0, err
	}

	if cut.Warm != nil {
		if err := cut.Warm(ctx); err != nil {
			return 0, err
		}
	}

	// 4. Hold, cut, release.
	var volumes []api.VolumeStatus
	released, began := func() {}, r.Now()
	if h.mode != api.QuiesceNone {
		released = metrics.Holding(b.Namespace, began)
	}
	times, err := quiesce.Stall(ctx, h.streams, h.maxStall, func(ctx context.Context) (err error) {
		volumes, err = files.with(ctx, cut.Make)
		return err
	})
	released()
	log.FromContext(ctx).Info("stall", "attempt", b.Status.Attempt, "mode", h.mode, "quiesce", times.Quiesced.Sub(times.Start).String(), "cut", times.Cut.Sub(times.Quiesced).String(),
		"release", times.Released.Sub(times.Cut).String(), "total", times.Released.Sub(times.Start).String(), "error", orNone(err))
	noteStall(b, h, began, times)
	if err != nil {
		return 0, err
	}
	// A pod with SYS_ADMIN shall not live while the storage copies. finish waits for
	// its end.
	if _, err := r.thawed(ctx, b); err != nil {
		return 0, err
	}
	b.Status.Consistency = api.Consistent
	if h.mode == api.QuiesceNone {
		b.Status.Consistency = api.CrashConsistent
	}
	b.Status.Volumes = volumes
	files.note(b)
	// Now, since who deletes a snapshot by hand does not wait until it is ready.
	if err := r.Snapshotter.Mark(ctx, b, pointers(volumes)...); err != nil {
		log.FromContext(ctx).Info("the snapshots are not marked yet; they will be once they are ready", "error", err.Error())
	}

	// 5. Look again, and write down what a restore needs.
	after, _, err := couch.survey(ctx)
	if err != nil {
		return 0, err
	}
	record, err := r.record(ctx, b, instance, couch, before, after)
	if err != nil {
		return 0, err
	}
	record.Fingerprint = couch.keepFingerprint(ctx, noted)
	for _, o := range objects {
		raw, err := o.MarshalJSON()
		if err != nil {
			return 0, fmt.Errorf("encode %s %s: %w", o.GetKind(), o.GetName(), err)
		}
		record.Objects = append(record.Objects, json.RawMessage(raw))
	}
	if b.Status.Record, err = r.Records.Put(ctx, record, b.Spec.AllowedNamespaces); err != nil {
		return 0, reason.Failed(api.ReasonRecordFailed, "%w", err)
	}
	b.Status.Databases = int32(len(before.ShardMaps)) //nolint:gosec // far below
	b.Status.Documents, b.Status.DataBytes = amount(infos)
	if err := r.enter(ctx, b, api.PhaseFinishing, heldFor(b)+"; the CHT runs on, "+finishing(b)); err != nil {
		return 0, err
	}
	if b.Spec.Fingerprint == api.FingerprintFull {
		return time.Millisecond, nil
	}
	return lostEvent, nil // hardly any storage is done by now, and its event wakes
}

// noteStall writes a stall down that began at a time of the Reconciler's clock, which all
// waits are counted by.
func noteStall(b *api.Backup, h hold, began time.Time, t quiesce.Times) {
	at := func(moment time.Time) metav1.MicroTime { return metav1.NewMicroTime(began.Add(moment.Sub(t.Start))) }
	b.Status.Timeline = &api.Timeline{QuiesceStart: at(t.Start), Quiesced: at(t.Quiesced), Cut: at(t.Cut), Released: at(t.Released)}
	stall := int64(0)
	if h.mode != api.QuiesceNone {
		stall = t.Released.Sub(t.Start).Milliseconds()
		metrics.Stalled(t.Released.Sub(t.Start))
	}
	b.Status.StallMilliseconds = &stall
}

// record gathers all but the objects.
func (r *Reconciler) record(ctx context.Context, b *api.Backup, instance *found, couch cluster, before, after catalog.Survey) (catalog.Record, error) {
	record := catalog.Record{Namespace: b.Namespace, Name: b.Name, UID: b.UID, Consistency: b.Status.Consistency,
		CouchDB: couch.version, Before: before, After: after}
	volumes, nameless := map[string]*api.VolumeStatus{}, []*api.VolumeStatus{}
	for _, v := range pointers(b.Status.Volumes) {
		if v.Handle == "" && v.Method != api.MethodFile { // the driver may name it a moment after the cut
			nameless = append(nameless, v)
		}
	}
	if len(nameless) > 0 {
		if err := r.Snapshotter.Refresh(ctx, b, nameless...); err != nil {
			return record, err
		}
	}
	for _, v := range pointers(b.Status.Volumes) {
		if v.Handle == "" && v.Method != api.MethodFile || v.CutTime == nil {
			return record, reason.Failed(api.ReasonSnapshotFailed, "%s: the driver gave snapshot %s no handle", v.Node, v.Snapshot)
		}
		if v.CutTime.After(record.CutTime) {
			record.CutTime = v.CutTime.Time
		}
		v.Ready = false // until finish has kept it
		volumes[v.Node] = v
	}
	b.Status.CutTime = &metav1.MicroTime{Time: record.CutTime}
	for _, n := range instance.Nodes {
		v, claim := volumes[n.Service], instance.inventory.Claims[n.Claim.Name]
		node := catalog.Node{Service: n.Service, ErlangName: n.ErlangName, Claim: n.Claim.Name, ClaimLabels: claim.Labels, StorageClass: n.Claim.StorageClass,
			CapacityBytes: n.Claim.Capacity, FSType: n.Claim.FSType, Partition: n.Claim.Partition, DataSubPath: n.DataSubPath, ConfigSubPath: n.ConfigSubPath, ConfigOnVolume: n.ConfigOnVolume,
			Method: v.Method, EBS: v.EBS, File: v.File, Driver: v.Driver, SnapshotHandle: v.Handle, SnapshotContent: v.Content}
		if v.RestoreSize != nil {
			node.RestoreBytes = v.RestoreSize.Value()
		}
		record.Nodes = append(record.Nodes, node)
	}
	record.Images, record.Release = imagesOf(instance.inventory.Pods), r.releaseOf(ctx, instance.inventory)
	return record, nil
}

// keepReady asks the storage how far it is, keeps what has become ready, and counts
// that. Ready is only ever written down once the snapshot is kept, too.
func (r *Reconciler) keepReady(ctx context.Context, b *api.Backup) (ready int, err error) {
	var waiting, done []*api.VolumeStatus
	for _, v := range pointers(b.Status.Volumes) {
		if !v.Ready {
			waiting = append(waiting, v)
		}
	}
	ready = len(b.Status.Volumes) - len(waiting)
	if len(waiting) == 0 {
		return ready, nil
	}
	err = r.Snapshotter.Refresh(ctx, b, waiting...)
	for _, v := range waiting {
		if v.Ready {
			done = append(done, v)
		}
	}
	if err == nil && len(done) > 0 {
		err = r.Snapshotter.Keep(ctx, b, done...)
	}
	if err != nil {
		for _, v := range done {
			v.Ready = false
		}
		return ready, err
	}
	return ready + len(done), nil
}

func pointers(volumes []api.VolumeStatus) []*api.VolumeStatus {
	all := make([]*api.VolumeStatus, len(volumes))
	for i := range volumes {
		all[i] = &volumes[i]
	}
	return all
}

// finish waits until the storage is done and the fingerprint is taken, and
// completes the backup.
func (r *Reconciler) finish(ctx context.Context, b *api.Backup) (again time.Duration, err error) {
	ready, err := r.keepReady(ctx, b)
	had := r.Now().Sub(b.Status.Timeline.Released.Time)
	if err != nil && reason.Of(err) == nil && had >= b.Spec.ReadyTimeout.Duration {
		return 0, reason.Refuse(api.ReasonReadyTimeout, "the storage did not say within %s how far the snapshots are: %w", b.Spec.ReadyTimeout.Duration, err)
	} else if err != nil {
		return 0, err
	}
	// The sooner after the cut, the fewer documents have changed; so it is not left
	// until the storage is ready.
	if taken, err := r.takeFingerprint(ctx, b); err != nil || !taken {
		return time.Millisecond, err
	}
	if ready < len(b.Status.Volumes) {
		r.tellFiles(b, ready)
		left := b.Spec.ReadyTimeout.Duration - had
		if left <= 0 {
			return 0, reason.Refuse(api.ReasonReadyTimeout, "%d of %d volumes were ready after %s; raise spec.readyTimeout or see the storage%s", ready, len(b.Status.Volumes), b.Spec.ReadyTimeout.Duration, slowFiles(b))
		}
		return min(left, askAgain(had)), nil
	}
	if again := r.copyFiles(ctx, b, had); again > 0 {
		return again, nil
	}
	if err := r.recordFiles(ctx, b); err != nil {
		return 0, err
	}
	now := metav1.NewMicroTime(r.Now())
	if b.Status.Timeline.Ready == nil {
		b.Status.Timeline.Ready = &now
	}
	if left, err := r.freed(ctx, b); err != nil || left > 0 {
		return time.Second, err
	}
	b.Status.CompletionTime, b.Status.Phase = &now, api.PhaseCompleted
	r.conclude(b, true, api.ReasonCompleted, fmt.Sprintf("%s backup, CouchDB nodes: %d, %s", b.Status.Consistency, b.Status.Nodes, heldFor(b)))
	return 0, nil
}

// heldFor tells people of the stall.
func heldFor(b *api.Backup) string {
	if b.Status.QuiesceMode == api.QuiesceNone {
		return "nothing was held"
	}
	return fmt.Sprintf("writes were held for %d ms", *b.Status.StallMilliseconds)
}

// orNone is an error for the log.
func orNone(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
