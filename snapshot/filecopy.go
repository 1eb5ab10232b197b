package snapshot

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/log"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/snapshot/cht"
	"github.com/medic/cht-backup/snapshot/cut"
	"github.com/medic/cht-backup/snapshot/reason"
	"github.com/medic/cht-backup/snapshot/status"
)

// Copier is the Snapshotter of method File. It knows volumes of that method alone, and
// goes on by itself: how far it is, Refresh tells.
type Copier interface {
	Snapshotter
	// WakeWith is given what hands a backup to the workers.
	WakeWith(wake func(types.NamespacedName))
}

// A copy of the files beside snapshots (spec.file.copy) is made of descriptors that are
// held in the same cut, not of a volume made of a snapshot: no driver has to be able to
// make one in the CHT's namespace or in another, nothing is billed for it, and it is the
// same instant by the same code as where the files are all there is. Whatever goes wrong
// with it, the backup is good without: condition FileCopied says what.

// longerFor is how much longer than the snapshots' cuts the files may take to be
// measured before they are given up. Writes wait meanwhile.
const longerFor = time.Second

// fileCopy is a copy beside snapshots in readiness. Its zero value is none.
type fileCopy struct {
	prepared *cut.Prepared
	volumes  []api.VolumeStatus
	err      error
	asked    bool
}

// prepareCopy gets the copy of the files ready that is asked for beside snapshots.
func (r *Reconciler) prepareCopy(ctx context.Context, b *api.Backup, nodes []cht.Node, planned []api.VolumeStatus) *fileCopy {
	var beside []cht.Node
	for _, n := range nodes {
		if !slices.ContainsFunc(planned, func(v api.VolumeStatus) bool { return v.Node == n.Service && v.Method == api.MethodFile }) {
			beside = append(beside, n)
		}
	}
	f := &fileCopy{asked: wantsCopy(b)}
	switch {
	case !f.asked || len(beside) == 0:
	case r.Files == nil:
		f.err = reason.Refuse(api.ReasonNoCatalog, "no catalog is configured that the files could be copied into (controller.catalog.url, docs/catalog.md)")
	default:
		prepared, err := r.Files.Prepare(ctx, b, beside)
		if f.err = err; err == nil {
			f.prepared = &prepared
		}
	}
	return f
}

func wantsCopy(b *api.Backup) bool { return b.Spec.File != nil && b.Spec.File.Copy }

func (f *fileCopy) done() {
	if f.prepared != nil {
		f.prepared.Done()
	}
}

// with makes the snapshots' cuts, and measures the files at the same time.
func (f *fileCopy) with(ctx context.Context, snapshots func(context.Context) ([]api.VolumeStatus, error)) ([]api.VolumeStatus, error) {
	if f.prepared == nil {
		return snapshots(ctx)
	}
	measured, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	finished := make(chan struct{})
	go func() {
		defer close(finished)
		f.volumes, f.err = f.prepared.Make(measured)
	}()
	volumes, err := snapshots(ctx)
	if err != nil {
		cancel(err)
	}
	select {
	case <-finished:
	case <-time.After(longerFor):
		cancel(fmt.Errorf("the files were not measured %s after the snapshots were cut, and writes do not wait longer for them", longerFor))
		<-finished
	}
	return volumes, err
}

// note writes down what came of it in the cut.
func (f *fileCopy) note(b *api.Backup) {
	if f.err != nil {
		notCopied(b, f.err)
		return
	}
	for _, copied := range f.volumes {
		for i := range b.Status.Volumes {
			if v := &b.Status.Volumes[i]; v.Node == copied.Node {
				v.File = copied.File
			}
		}
	}
	if f.asked && len(f.volumes) > 0 {
		setCopied(b, metav1.ConditionUnknown, api.ReasonProgressing, "the files are measured, and are being copied")
	}
}

func notCopied(b *api.Backup, err error) {
	why := api.ReasonRepositoryFailed
	if e := reason.Of(err); e != nil {
		why = e.Reason
	}
	setCopied(b, metav1.ConditionFalse, why, "the backup is good, but its files are not copied: "+err.Error())
}

func setCopied(b *api.Backup, is metav1.ConditionStatus, why, message string) {
	meta.SetStatusCondition(&b.Status.Conditions, metav1.Condition{Type: api.ConditionFileCopied, Status: is, Reason: why, Message: status.Clip(message), ObservedGeneration: b.Generation})
}

// copies tells whether files of the backup are copied, as all there is or beside.
func copies(b *api.Backup) bool {
	return wantsCopy(b) || slices.ContainsFunc(b.Status.Volumes, func(v api.VolumeStatus) bool { return v.File != nil })
}

// copyFiles tells in FileCopied how far the copy beside snapshots is, and when to look
// again; 0 once it has come to an end, good or not.
func (r *Reconciler) copyFiles(ctx context.Context, b *api.Backup, had time.Duration) (again time.Duration) {
	c := meta.FindStatusCondition(b.Status.Conditions, api.ConditionFileCopied)
	if !wantsCopy(b) || c != nil && c.Status != metav1.ConditionUnknown {
		return 0
	}
	var waiting []*api.VolumeStatus // as the copier knows them
	var at []int
	for i, v := range b.Status.Volumes {
		if v.Method != api.MethodFile && v.File != nil && !v.File.Complete {
			waiting = append(waiting, &api.VolumeStatus{Node: v.Node, Claim: v.Claim, Method: api.MethodFile, File: v.File.DeepCopy(), CutTime: v.CutTime})
			at = append(at, i)
		}
	}
	if len(waiting) == 0 {
		setCopied(b, metav1.ConditionTrue, api.ReasonDone, "the files of all volumes are in the catalog")
		return 0
	}
	err := errors.New("no catalog is configured any more")
	if r.Files != nil {
		err = r.Files.Refresh(ctx, b, waiting...)
	}
	left, said := b.Spec.ReadyTimeout.Duration-had, []string(nil)
	for i, v := range waiting {
		b.Status.Volumes[at[i]].File = v.File
		if !v.Ready {
			said = append(said, v.Node+" "+v.Progress)
		}
	}
	switch {
	case err == nil && len(said) == 0:
		return time.Millisecond
	case err == nil && left <= 0:
		err = reason.Refuse(api.ReasonReadyTimeout, "they were not copied within %s (spec.readyTimeout): %s; what was copied is not copied again by the next backup", b.Spec.ReadyTimeout.Duration, strings.Join(said, "; "))
	case err == nil, reason.Of(err) == nil && left > 0:
		if err == nil {
			setCopied(b, metav1.ConditionUnknown, api.ReasonProgressing, "copying: "+strings.Join(said, "; "))
		}
		r.progress(b, "the snapshots are ready, the files are being copied")
		return min(left, askAgain(had))
	}
	r.giveUpCopy(ctx, b, err)
	return 0
}

// giveUpCopy lets go of a copy beside snapshots. What of it is in the repository goes
// now, or when somebody looks after the repository.
func (r *Reconciler) giveUpCopy(ctx context.Context, b *api.Backup, why error) {
	those := b.DeepCopy()
	those.Status.Volumes = nil
	for i := range b.Status.Volumes {
		if v := &b.Status.Volumes[i]; v.Method != api.MethodFile {
			those.Status.Volumes = append(those.Status.Volumes, *v)
			v.File = nil
		}
	}
	if r.Files != nil {
		if _, err := r.Files.Discard(ctx, those); err != nil {
			log.FromContext(ctx).Info("what was copied before it failed is still in the repository", "error", err.Error())
		}
	}
	notCopied(b, why)
}

// recordFiles writes into the record what was not known when it was written: under
// which names the files are kept, or that they are not.
func (r *Reconciler) recordFiles(ctx context.Context, b *api.Backup) error {
	if !copies(b) {
		return nil
	}
	record, err := r.Records.Get(ctx, b.Status.Record)
	if err != nil {
		return fmt.Errorf("read the record to note the files: %w", err)
	}
	for i := range record.Nodes {
		n := &record.Nodes[i]
		for _, v := range b.Status.Volumes {
			if v.Node == n.Service {
				n.File = v.File
			}
		}
	}
	if _, err := r.Records.Put(ctx, record, b.Spec.AllowedNamespaces); err != nil {
		return reason.Failed(api.ReasonRecordFailed, "%w", err)
	}
	return nil
}

// finishing says what is waited for.
func finishing(b *api.Backup) string {
	files := measuresFiles(b.Status.Volumes)
	switch snapshots := slices.ContainsFunc(b.Status.Volumes, func(v api.VolumeStatus) bool { return v.Method != api.MethodFile }); {
	case files && snapshots:
		return "copying the files into the catalog, and waiting until the storage has the snapshots ready"
	case files:
		return "copying the files into the catalog"
	}
	return "waiting until the storage has the snapshots ready"
}

// tellFiles says how far the volumes are of which something is known.
func (r *Reconciler) tellFiles(b *api.Backup, ready int) {
	if !measuresFiles(b.Status.Volumes) {
		if ready > 0 {
			r.progress(b, fmt.Sprintf("%d of %d snapshots are ready", ready, len(b.Status.Volumes)))
		}
		return
	}
	r.progress(b, fmt.Sprintf("%d of %d volumes are ready; %s%s", ready, len(b.Status.Volumes), finishing(b), slowFiles(b)))
}

// slowFiles says how far the files are that are being copied.
func slowFiles(b *api.Backup) string {
	var said []string
	for _, v := range b.Status.Volumes {
		if v.Method == api.MethodFile && !v.Ready && v.Progress != "" {
			said = append(said, v.Node+" "+v.Progress)
		}
	}
	if len(said) == 0 {
		return ""
	}
	return ": " + strings.Join(said, "; ")
}
