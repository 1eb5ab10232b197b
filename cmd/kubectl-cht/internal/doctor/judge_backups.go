package doctor

import (
	"fmt"
	"slices"
	"strings"

	snapv1 "github.com/kubernetes-csi/external-snapshotter/client/v8/apis/volumesnapshot/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/snapshot/catalog"
	"github.com/medic/cht-backup/snapshot/csi"
)

const controllerLabel, controllerName = "app.kubernetes.io/name", "cht-backup"

// heads gives the heads of all records by the UID of their Backup.
func (l *look) heads() map[types.UID]catalog.Head {
	heads := map[types.UID]catalog.Head{}
	for i := range l.Records {
		if head, _, ok := catalog.HeadOf(&l.Records[i]); ok {
			heads[head.UID] = head
		}
	}
	return heads
}

// snapshots judges VolumeSnapshots: of backups, and imported ones of restores.
func (l *look) snapshots() (all []Finding) {
	heads := l.heads()
	for i := range l.Snapshots {
		s := &l.Snapshots[i]
		if s.DeletionTimestamp != nil || l.young(s) {
			continue
		}
		if uid := types.UID(s.Labels[api.RestoreUIDLabel]); uid != "" {
			if l.restores[uid] == nil && imported(s.Name, uid) && s.Spec.Source.VolumeSnapshotContentName != nil {
				all = append(all, orphan("VolumeSnapshot", s, uid, dropImportedSnapshot, fmt.Sprintf("was imported for a Restore (UID %s) that is gone", uid), fixNext+" removes it; the storage's snapshot stays"))
			}
			continue
		}
		uid := types.UID(s.Labels[api.BackupUIDLabel])
		switch {
		case l.backups[uid] != nil || !l.saw(kindRecords):
		case !csi.Suffixed(s.Name, uid):
			all = append(all, foreign("VolumeSnapshot", s, "it is not named as ours are"))
		case heads[uid].UID == "":
			all = append(all, orphan("VolumeSnapshot", s, uid, removeSnapshot, fmt.Sprintf("its Backup (UID %s) is gone, and no record names it", uid), fixNext+" removes it with the storage's snapshot"))
		}
	}
	return all
}

// contents judges VolumeSnapshotContents likewise.
func (l *look) contents() (all []Finding) {
	heads := l.heads()
	for i := range l.Contents {
		c := &l.Contents[i]
		if l.young(c) {
			continue
		}
		ref := c.Spec.VolumeSnapshotRef
		if uid := types.UID(c.Labels[api.RestoreUIDLabel]); uid != "" {
			if l.restores[uid] == nil && imported(c.Name, uid) && c.Spec.Source.SnapshotHandle != nil {
				all = append(all, orphan("VolumeSnapshotContent", c, uid, dropImportedContent, fmt.Sprintf("was imported into %s for a Restore (UID %s) that is gone", ref.Namespace, uid), fixNext+" removes it; the storage's snapshot stays"))
			}
			continue
		}
		uid := types.UID(c.Labels[api.BackupUIDLabel])
		switch {
		case uid == "" || l.backups[uid] != nil || heads[uid].UID != "" || !l.saw(kindRecords, kindSnapshots):
		case !csi.Suffixed(ref.Name, uid) || c.Name != "snapcontent-"+string(ref.UID):
			all = append(all, foreign("VolumeSnapshotContent", c, fmt.Sprintf("it is bound to %s/%s", ref.Namespace, ref.Name)))
		case l.TakenOver[ref.UID]:
			all = append(all, foreign("VolumeSnapshotContent", c, fmt.Sprintf("somebody took over VolumeSnapshot %s/%s, which is there without our label", ref.Namespace, ref.Name)))
		case c.Annotations[api.RetainedAnnotation] != "":
			all = append(all, of(Problem, "VolumeSnapshotContent", c, fmt.Sprintf("was retained on purpose (snapshot %s of %s) when its Backup (UID %s) was deleted, but its record is lost: it cannot be restored by this product", handle(c), c.Spec.Driver, uid),
				fmt.Sprintf("make a volume of it by hand, or delete it: kubectl patch volumesnapshotcontent %s --type merge -p '{\"spec\":{\"deletionPolicy\":\"Delete\"}}', then kubectl delete volumesnapshotcontent %s", c.Name, c.Name)))
		default:
			all = append(all, orphan("VolumeSnapshotContent", c, uid, removeContent, fmt.Sprintf("was made for %s/%s; its Backup (UID %s) is gone, and no record names it", ref.Namespace, ref.Name, uid), fixNext+" removes it with the storage's snapshot "+handle(c)))
		}
	}
	return all
}

func foreign(kind string, o interface {
	metav1.Object
}, why string) Finding {
	f := Finding{Severity: Information, Kind: kind, Namespace: o.GetNamespace(), Name: o.GetName(), UID: o.GetUID()}
	f.What = "bears our label without being ours: " + why + "; it is left alone"
	f.Next = fmt.Sprintf("if the label is a mistake: kubectl label %s %s %s-", strings.ToLower(kind), o.GetName(), api.BackupUIDLabel)
	if o.GetNamespace() != "" {
		f.Next += " -n " + o.GetNamespace()
	}
	return f
}

func handle(c *snapv1.VolumeSnapshotContent) string {
	if c.Status != nil && c.Status.SnapshotHandle != nil {
		return *c.Status.SnapshotHandle
	}
	return "(not cut yet)"
}

// imported tells whether a name is one that a restore gives to what it imports.
func imported(name string, uid types.UID) bool {
	return strings.HasPrefix(name, fmt.Sprintf("cht-restore-%.8s-", uid))
}

// record is what there is of one record.
type record struct {
	uid   types.UID
	head  *catalog.Head
	want  int // parts, as the head says
	parts []*metav1.PartialObjectMetadata
}

// complete tells whether all parts are there.
func (r record) complete() bool { return r.head != nil && r.want > 0 && len(r.parts) >= r.want }

func (l *look) grouped() (all []*record) {
	by := map[types.UID]*record{}
	for i := range l.Records {
		uid, _, ok := catalog.PartOf(&l.Records[i])
		if !ok {
			continue
		}
		r := by[uid]
		if r == nil {
			r = &record{uid: uid}
			by[uid], all = r, append(all, r)
		}
		r.parts = append(r.parts, &l.Records[i])
		if head, want, ok := catalog.HeadOf(&l.Records[i]); ok {
			r.head, r.want = &head, want
		}
	}
	return all
}

// records judges records, and the completed Backups that should have one.
func (l *look) records() (all []Finding) {
	if !l.saw(kindRecords) {
		return nil
	}
	whole := map[types.UID]bool{}
	for _, r := range l.grouped() {
		whole[r.uid] = r.complete()
		young := slices.ContainsFunc(r.parts, func(p *metav1.PartialObjectMetadata) bool { return l.young(p) })
		if l.backups[r.uid] == nil && !young {
			all = append(all, l.recordOnly(r))
		}
	}
	for i := range l.Backups {
		b := &l.Backups[i]
		if b.Status.Phase == api.PhaseCompleted && b.DeletionTimestamp == nil && !whole[b.UID] {
			all = append(all, of(Problem, "backup", b, "is Completed, but its record is lost or incomplete: it cannot be restored", "take another backup, and delete this one"))
		}
	}
	return all
}

// recordOnly judges a record whose Backup is gone.
func (l *look) recordOnly(r *record) Finding {
	if r.head == nil {
		return orphan("Secret", r.parts[0], r.uid, removeRecord, fmt.Sprintf("is a part of a record without its head, whose Backup (UID %s) is gone: it is of no use", r.uid), fixNext+" removes all its parts")
	}
	f := Finding{Kind: "record", Namespace: r.head.Namespace, Name: r.head.Name, UID: r.uid}
	remove := fmt.Sprintf("kubectl cht delete backup %s -n %s --uid %s", r.head.Name, r.head.Namespace, r.uid)
	count := 0
	for i := range l.Contents {
		if csi.Owned(&l.Contents[i], r.head.Namespace, r.head.Name, r.uid) {
			count++
		}
	}
	switch {
	case !r.complete():
		f.Severity, f.What, f.Next = Problem, fmt.Sprintf("has %d of %d parts, and its Backup is gone: it cannot be restored", len(r.parts), r.want), remove+" removes it with its snapshots"
	case r.head.ImportedFrom != "":
		f.Severity, f.What = Information, fmt.Sprintf("record only (cut %s), imported from %q: it can be restored", r.head.CutTime, r.head.ImportedFrom)
		f.Next = "to remove it here, without its snapshots: " + remove
	case r.head.EBS:
		f.Severity, f.What = Information, fmt.Sprintf("record only (cut %s): its Backup is gone; of its snapshots some are EC2's, where nobody looked", r.head.CutTime)
		f.Next = fmt.Sprintf("whether it can be restored, tells: kubectl cht restore --from %s/%s --uid %s --to NAMESPACE --dry-run; to remove it with its snapshots: %s", r.head.Namespace, r.head.Name, r.uid, remove)
	case count == 0 && l.saw(kindContents):
		f.Severity, f.What = Problem, "its Backup and all its VolumeSnapshotContents are gone; it can be restored only if the storage still has the snapshots"
		f.Next = fmt.Sprintf("look into the storage, or try: kubectl cht restore --from %s/%s --uid %s --to NAMESPACE --dry-run; if they are gone: %s", r.head.Namespace, r.head.Name, r.uid, remove)
	default:
		f.Severity, f.What, f.Next = Information, fmt.Sprintf("record only (cut %s, snapshots: %d): its Backup is gone, it can be restored", r.head.CutTime, count), "to remove it: "+remove
		if !l.saw(kindContents) {
			f.What = fmt.Sprintf("record only (cut %s): its Backup is gone", r.head.CutTime)
		}
		if r.head.Hold != "" {
			f.What += "; held: " + r.head.Hold
		}
	}
	return f
}
