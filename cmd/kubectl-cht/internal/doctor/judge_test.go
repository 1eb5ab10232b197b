package doctor

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	snapv1 "github.com/kubernetes-csi/external-snapshotter/client/v8/apis/volumesnapshot/v1"
	appsv1 "k8s.io/api/apps/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	api "github.com/medic/cht-backup/api/v1alpha1"
)

const home = "cht-backup-system"

var (
	noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	old  = metav1.NewTime(noon.Add(-time.Hour))
)

const young = 10 * time.Minute

// UIDs of owners: the living and the gone, of backups and restores.
const (
	living  types.UID = "11111111-aaaa"
	gone    types.UID = "22222222-aaaa"
	kept    types.UID = "33333333-aaaa" // only its record is left
	working types.UID = "44444444-aaaa"
	ended   types.UID = "55555555-aaaa"
)

func made(namespace, name string, labels map[string]string) metav1.ObjectMeta {
	return metav1.ObjectMeta{Namespace: namespace, Name: name, UID: types.UID("uid-" + name), CreationTimestamp: old, Labels: labels}
}

func backupOf(uid types.UID) api.Backup {
	b := api.Backup{ObjectMeta: made("medic", "nightly", nil), Status: api.BackupStatus{Phase: api.PhaseCompleted}}
	b.UID = uid
	return b
}

func restoreOf(name string, uid types.UID, phase api.Phase) api.Restore {
	r := api.Restore{ObjectMeta: made("medic", name, nil), Status: api.RestoreStatus{Phase: phase, CompletionTime: &metav1.MicroTime{Time: old.Time}}}
	r.UID = uid
	return r
}

func snapshotOf(uid types.UID) snapv1.VolumeSnapshot {
	return snapv1.VolumeSnapshot{ObjectMeta: made("medic", fmt.Sprintf("nightly-%.8s-1-couchdb", uid), map[string]string{api.BackupUIDLabel: string(uid)})}
}

func contentOf(uid types.UID) snapv1.VolumeSnapshotContent {
	s := snapshotOf(uid)
	return snapv1.VolumeSnapshotContent{ObjectMeta: made("", "snapcontent-"+string(s.UID), map[string]string{api.BackupUIDLabel: string(uid)}),
		Spec: snapv1.VolumeSnapshotContentSpec{VolumeSnapshotRef: corev1.ObjectReference{Namespace: s.Namespace, Name: s.Name, UID: s.UID}}}
}

func partOf(uid types.UID, part, parts int) metav1.PartialObjectMetadata {
	name, number := "cht-backup-"+string(uid), "head"
	if part > 0 {
		name, number = fmt.Sprintf("%s-%d", name, part), fmt.Sprint(part)
	}
	o := metav1.PartialObjectMetadata{ObjectMeta: made(home, name, map[string]string{api.BackupUIDLabel: string(uid), api.SourceNamespaceLabel: "medic", "backup.communityhealthtoolkit.org/record-part": number})}
	if part == 0 {
		o.Annotations = map[string]string{api.SourceNameAnnotation: "nightly", "backup.communityhealthtoolkit.org/record-chunks": fmt.Sprint(parts)}
	}
	return o
}

func podOf(role, label string, uid types.UID) metav1.PartialObjectMetadata {
	return metav1.PartialObjectMetadata{ObjectMeta: made("medic", fmt.Sprintf("cht-%s-%.8s-couchdb", role, uid), map[string]string{api.RoleLabel: role, label: string(uid)})}
}

func claimOf(name string, uid types.UID) metav1.PartialObjectMetadata {
	return metav1.PartialObjectMetadata{ObjectMeta: made("medic", name, map[string]string{api.RestoreUIDLabel: string(uid)})}
}

func volumeOf(name string, uid types.UID, phase corev1.PersistentVolumePhase) corev1.PersistentVolume {
	return corev1.PersistentVolume{ObjectMeta: made("", name, map[string]string{api.RestoreUIDLabel: string(uid)}),
		Spec: corev1.PersistentVolumeSpec{ClaimRef: &corev1.ObjectReference{Namespace: "medic", Name: "claim"}}, Status: corev1.PersistentVolumeStatus{Phase: phase}}
}

func scratchOf(uid types.UID) metav1.PartialObjectMetadata {
	o := metav1.PartialObjectMetadata{ObjectMeta: made("", fmt.Sprintf("medic-scratch-%.8s", uid), map[string]string{api.RestoreUIDLabel: string(uid)})}
	o.Annotations = map[string]string{api.ScratchForAnnotation: "medic/one", api.CreatedForAnnotation: "scratch"}
	return o
}

func createdFor(name, restore string) metav1.PartialObjectMetadata {
	o := metav1.PartialObjectMetadata{ObjectMeta: made("", name, nil)}
	o.Annotations = map[string]string{api.CreatedForAnnotation: restore}
	return o
}

func importOf(uid types.UID) (snapv1.VolumeSnapshot, snapv1.VolumeSnapshotContent) {
	name, handle, label := fmt.Sprintf("cht-restore-%.8s-couchdb", uid), "snap-1", map[string]string{api.RestoreUIDLabel: string(uid)}
	s := snapv1.VolumeSnapshot{ObjectMeta: made("medic", name, label)}
	s.Spec.Source.VolumeSnapshotContentName = &name
	c := snapv1.VolumeSnapshotContent{ObjectMeta: made("", name, label)}
	c.Spec.Source.SnapshotHandle, c.Spec.VolumeSnapshotRef.Namespace = &handle, "medic"
	return s, c
}

// whole is a cluster in which all is well and much is under way.
func whole() Cluster {
	available, renewed := appsv1.Deployment{ObjectMeta: made(home, "cht-backup", nil)}, metav1.NewMicroTime(noon.Add(-5*time.Second))
	available.Status.AvailableReplicas = 1
	importedSnapshot, importedContent := importOf(working)
	drill := restoreOf("drill", "66666666-aaaa", api.PhaseFailed)
	drill.Status.Drill = &api.DrillStatus{KeptUntil: &metav1.Time{Time: noon.Add(time.Hour)}}
	justEnded := restoreOf("just", "77777777-aaaa", api.PhaseCompleted)
	justEnded.Status.CompletionTime = &metav1.MicroTime{Time: noon.Add(-time.Minute)}
	aside := volumeOf("aside", gone, corev1.VolumeReleased)
	aside.Labels[api.SetAsideLabel], aside.Annotations = string(gone), map[string]string{api.SetAsideClaimAnnotation: "medic/couchdb-claim0"}
	forged := contentOf(gone)
	forged.Name, forged.Spec.VolumeSnapshotRef = "snapcontent-theirs", corev1.ObjectReference{Namespace: "medic", Name: "by-hand", UID: "theirs"}
	takenOver := contentOf(gone)
	takenOver.Name, takenOver.Spec.VolumeSnapshotRef.UID = "snapcontent-taken", "taken"
	unlabelled := contentOf(kept)
	unlabelled.Labels, unlabelled.Name, unlabelled.Spec.VolumeSnapshotRef.UID = nil, "snapcontent-old", "old"
	return Cluster{
		System: home, Backups: []api.Backup{backupOf(living)},
		Restores:    []api.Restore{restoreOf("one", working, api.PhaseReplicating), restoreOf("over", ended, api.PhaseCompleted), drill, justEnded, {ObjectMeta: made("clone", "r", nil)}},
		Snapshots:   []snapv1.VolumeSnapshot{snapshotOf(living), snapshotOf(kept), importedSnapshot},
		Contents:    []snapv1.VolumeSnapshotContent{contentOf(living), contentOf(kept), unlabelled, importedContent, forged, takenOver, {ObjectMeta: made("", "anybodys", nil)}},
		TakenOver:   map[types.UID]bool{"taken": true},
		Records:     []metav1.PartialObjectMetadata{partOf(living, 0, 2), partOf(living, 1, 0), partOf(kept, 0, 1), {ObjectMeta: made(home, "forged", map[string]string{api.BackupUIDLabel: string(gone)})}},
		Pods:        []metav1.PartialObjectMetadata{podOf("freezer", api.BackupUIDLabel, living), podOf("prepare-volume", api.RestoreUIDLabel, working), {ObjectMeta: made("medic", "forged", map[string]string{api.RoleLabel: "freezer", api.BackupUIDLabel: string(gone)})}},
		Claims:      []metav1.PartialObjectMetadata{claimOf("couchdb-claim0", gone), claimOf("couchdb-claim1", working), claimOf("couchdb-claim2-44444444", working)},
		InUse:       map[string]bool{"medic/couchdb-claim0": true},
		Volumes:     []corev1.PersistentVolume{volumeOf("used", gone, corev1.VolumeBound), volumeOf("theirs", working, corev1.VolumeReleased), aside},
		Namespaces:  []metav1.PartialObjectMetadata{scratchOf(working), scratchOf("66666666-aaaa"), scratchOf("77777777-aaaa"), createdFor("clone", "r"), createdFor("busy", "gone"), createdFor("kube-system", "gone"), createdFor(home, "gone")},
		Holds:       map[string]Holding{"busy": {Any: "Deployment cht-api"}, "medic-scratch-66666666": {}, "kube-system": {}, home: {}},
		Controllers: []appsv1.Deployment{available}, Lease: &coordinationv1.Lease{Spec: coordinationv1.LeaseSpec{RenewTime: &renewed}}, Unseen: map[string]string{},
	}
}

// said gives the findings of a severity, as KIND NAME.
func said(findings []Finding, severity Severity) (all []string) {
	for _, f := range findings {
		if f.Severity == severity {
			all = append(all, f.Kind+" "+f.Name)
		}
		if f.Fixable() != (f.Severity == Orphan) || f.What == "" || f.Next == "" {
			panic(fmt.Sprintf("%+v", f))
		}
	}
	slices.Sort(all)
	return all
}

func same(t *testing.T, what string, got []string, want ...string) {
	t.Helper()
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("%s:\ngot  %q\nwant %q", what, got, want)
	}
}

var information = []string{"VolumeSnapshotContent snapcontent-theirs", "VolumeSnapshotContent snapcontent-taken", "record nightly", "volume aside", "namespace medic-scratch-66666666"}

func TestAllIsWell(t *testing.T) {
	got := Judge(whole(), noon, young)
	same(t, "problems", said(got, Problem))
	same(t, "orphans", said(got, Orphan))
	same(t, "information", said(got, Information), information...)
	if problems, orphans := Wrong(got); problems+orphans > 0 || Verdict(got) != "" {
		t.Errorf("%d, %d, %q", problems, orphans, Verdict(got))
	}
}

// planted adds one orphan of each kind, and gives their names.
func planted(c *Cluster) []string {
	s, content := importOf(gone)
	c.Snapshots = append(c.Snapshots, snapshotOf(gone), s)
	c.Contents = append(c.Contents, contentOf(gone), content)
	c.Records = append(c.Records, partOf("88888888-aaaa", 1, 0), partOf("88888888-aaaa", 2, 0))
	c.Pods = append(c.Pods, podOf("freezer", api.BackupUIDLabel, gone), podOf("probe-isolation", api.RestoreUIDLabel, gone))
	c.Claims = append(c.Claims, claimOf("couchdb-claim0-22222222", gone))
	c.Volumes = append(c.Volumes, volumeOf("lost", gone, corev1.VolumeReleased))
	c.Namespaces = append(c.Namespaces, scratchOf(gone), scratchOf(ended), createdFor("empty", "gone"))
	for _, n := range []string{"medic-scratch-22222222", "medic-scratch-55555555", "empty"} {
		c.Holds[n] = Holding{}
	}
	return []string{"VolumeSnapshot nightly-22222222-1-couchdb", "VolumeSnapshot cht-restore-22222222-couchdb", "VolumeSnapshotContent snapcontent-uid-nightly-22222222-1-couchdb", "VolumeSnapshotContent cht-restore-22222222-couchdb",
		"Secret cht-backup-88888888-aaaa-1", "pod cht-freezer-22222222-couchdb", "pod cht-probe-isolation-22222222-couchdb", "claim couchdb-claim0-22222222", "volume lost",
		"namespace medic-scratch-22222222", "namespace medic-scratch-55555555", "namespace empty"}
}

func TestOrphans(t *testing.T) {
	c := whole()
	want := planted(&c)
	got := Judge(c, noon, young)
	same(t, "problems", said(got, Problem))
	same(t, "orphans", said(got, Orphan), want...)
	same(t, "information", said(got, Information), information...)
	if v := Verdict(got); v != "12 objects left behind" {
		t.Errorf("verdict %q", v)
	}
	// All of that is an hour old: a moment after it was made, it is nobody's business.
	same(t, "younger than asked", said(Judge(c, noon, 2*time.Hour), Orphan))
	// Elsewhere, none of it is.
	c.Namespace = "elsewhere"
	for _, f := range Judge(c, noon, young) {
		if f.Kind == "namespace" || f.Kind == "volume" {
			t.Errorf("of another namespace: %s", f.Title())
		}
	}
}

// The scratch namespace of a drill that failed is kept as long as was asked for.
func TestKeptForALook(t *testing.T) {
	c := whole()
	for i := range c.Restores {
		if d := c.Restores[i].Status.Drill; d != nil {
			d.KeptUntil = &metav1.Time{Time: noon.Add(-young)}
		}
	}
	same(t, "kept too long", said(Judge(c, noon, young), Orphan), "namespace medic-scratch-66666666")
}

// What is not known is not left behind.
func TestUnseenIsNotJudged(t *testing.T) {
	for kind, silent := range map[string][]string{
		kindRecords:   {"VolumeSnapshot nightly-22222222-1-couchdb", "VolumeSnapshotContent snapcontent-uid-nightly-22222222-1-couchdb", "Secret cht-backup-88888888-aaaa-1"},
		kindSnapshots: {"VolumeSnapshotContent snapcontent-uid-nightly-22222222-1-couchdb"},
	} {
		c := whole()
		want := planted(&c)
		c.Unseen[kind] = "you may not look at them"
		want = slices.DeleteFunc(want, func(w string) bool { return slices.Contains(silent, w) })
		same(t, kind, said(Judge(c, noon, young), Orphan), want...)
	}
	c := whole()
	planted(&c)
	c.Holds = map[string]Holding{}
	c.Controllers, c.Unseen[kindControllers] = nil, "you may not look at them"
	got := Judge(c, noon, young)
	same(t, "namespaces that were not looked into", said(got, Problem), "namespace medic-scratch-22222222", "namespace medic-scratch-55555555")
	for _, o := range said(got, Orphan) {
		if strings.HasPrefix(o, "namespace") {
			t.Errorf("%s would be removed unseen", o)
		}
	}
}

func TestProblems(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(*Cluster)
		want   []string
		says   string
	}{
		{"no controller", func(c *Cluster) { c.Controllers = nil }, []string{"controller cht-backup", "restore one", "restore r"}, "there is no Deployment of cht-backup in namespace " + home},
		{"no replica", func(c *Cluster) { c.Controllers[0].Status.AvailableReplicas = 0 }, []string{"controller cht-backup", "restore one", "restore r"}, "no replica of it is available"},
		{"nobody leads", func(c *Cluster) { c.Lease.Spec.RenewTime = &metav1.MicroTime{Time: old.Time} }, []string{"controller cht-backup", "restore one", "restore r"}, "the lease was renewed last 60m ago"},
		{"without a lease", func(c *Cluster) { c.Lease = nil }, nil, ""},
		{"a deletion that hangs", func(c *Cluster) { c.Backups[0].DeletionTimestamp = &old }, []string{"backup nightly"}, "has been on its way out for 60m"},
		{"a deletion that takes its time", func(c *Cluster) { c.Backups[0].DeletionTimestamp = &metav1.Time{Time: noon.Add(-time.Minute)} }, nil, ""},
		{"a record without a part", func(c *Cluster) { c.Records = append(c.Records, partOf(gone, 0, 3), partOf(gone, 1, 0)) }, []string{"record nightly"}, "has 2 of 3 parts, and its Backup is gone"},
		{"a record without contents", func(c *Cluster) { c.Contents = c.Contents[:1] }, []string{"record nightly"}, "its Backup and all its VolumeSnapshotContents are gone"},
		{"a record that was imported", func(c *Cluster) {
			c.Contents = c.Contents[:1]
			c.Records[2].Annotations[api.ImportedFromAnnotation] = "s3://backups/cht"
		}, nil, `imported from "s3://backups/cht": it can be restored`},
		{"a record of EBS snapshots", func(c *Cluster) {
			c.Contents = c.Contents[:1]
			c.Records[2].Annotations["backup.communityhealthtoolkit.org/methods"] = "CSI,EBS"
		}, nil, "of its snapshots some are EC2's"},
		{"a living backup's record is lost", func(c *Cluster) { c.Records = c.Records[2:] }, []string{"backup nightly"}, "its record is lost or incomplete"},
		{"a living backup's record is incomplete", func(c *Cluster) { c.Records = append(c.Records[:1], c.Records[2:]...) }, []string{"backup nightly"}, "its record is lost or incomplete"},
		{"a retained snapshot without a record", func(c *Cluster) {
			retained := contentOf(gone)
			retained.Annotations = map[string]string{api.RetainedAnnotation: "2026-01-01T00:00:00Z"}
			c.Contents = append(c.Contents, retained)
		}, []string{"VolumeSnapshotContent snapcontent-uid-nightly-22222222-1-couchdb"}, "was retained on purpose"},
		{"somebody works in a scratch namespace", func(c *Cluster) {
			c.Namespaces, c.Holds["medic-scratch-22222222"] = append(c.Namespaces, scratchOf(gone)), Holding{Foreign: "Secret mine", Any: "Secret mine"}
		}, []string{"namespace medic-scratch-22222222"}, "it holds Secret mine, which is not of it"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := whole()
			tt.change(&c)
			got := Judge(c, noon, young)
			same(t, "problems", said(got, Problem), tt.want...)
			same(t, "orphans", said(got, Orphan))
			if text := strings.Join(Lines(got, func(s string) string { return s }), "\n"); !strings.Contains(text, tt.says) {
				t.Errorf("it does not say %q:\n%s", tt.says, text)
			}
		})
	}
}

func TestLines(t *testing.T) {
	c := whole()
	planted(&c)
	c.Controllers = nil
	text := strings.Join(Lines(Judge(c, noon, young), strings.TrimSpace), "\n")
	at := -1
	for _, title := range []string{"Problems\n  controller cht-backup-system/cht-backup: there is no Deployment", "\n\nLeft behind\n  pod medic/cht-freezer", "next: kubectl cht doctor --fix removes it\n", "\n\nGood to know\n"} {
		i := strings.Index(text, title)
		if i <= at {
			t.Errorf("%q is not there, or in the wrong place:\n%s", title, text)
		}
		at = i
	}
}
