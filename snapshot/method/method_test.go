package method

import (
	"context"
	"errors"
	"strings"
	"testing"

	snapv1 "github.com/kubernetes-csi/external-snapshotter/client/v8/apis/volumesnapshot/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/snapshot/cht"
	"github.com/medic/cht-backup/snapshot/cut"
	"github.com/medic/cht-backup/snapshot/reason"
)

const ebsDriver = cht.EBSDriver

var (
	csiOnly   = cht.Claim{Name: "csi", Driver: "rook"}
	ebsByCSI  = cht.Claim{Name: "ebs", Driver: ebsDriver, EBS: &cht.EBS{VolumeID: "vol-1"}}
	ebsInTree = cht.Claim{Name: "old", Source: "an in-tree EBS volume (vol-2)", EBS: &cht.EBS{VolumeID: "vol-2"}}
	hostPath  = cht.Claim{Name: "host", Source: "a hostPath volume (/x)"}
)

func class(name, driver string) snapv1.VolumeSnapshotClass {
	return snapv1.VolumeSnapshotClass{ObjectMeta: metav1.ObjectMeta{Name: name}, Driver: driver}
}

func TestChoose(t *testing.T) {
	rook, ebs := class("rook", "rook"), class("ebs", ebsDriver)
	for _, tt := range []struct {
		name    string
		method  api.Method
		named   string
		claim   cht.Claim
		classes []snapv1.VolumeSnapshotClass
		want    api.Method
	}{
		{"a class for the driver", api.MethodAuto, "", ebsByCSI, []snapv1.VolumeSnapshotClass{rook, ebs}, api.MethodCSI},
		{"no class for the driver", api.MethodAuto, "", ebsByCSI, []snapv1.VolumeSnapshotClass{rook}, api.MethodEBS},
		{"no class at all", "", "", ebsByCSI, nil, api.MethodEBS},
		{"in-tree", api.MethodAuto, "", ebsInTree, []snapv1.VolumeSnapshotClass{rook, ebs}, api.MethodEBS},
		{"in-tree, a class is named", api.MethodAuto, "rook", ebsInTree, []snapv1.VolumeSnapshotClass{rook, ebs}, api.MethodEBS},
		{"the named class is of the driver", api.MethodAuto, "ebs", ebsByCSI, []snapv1.VolumeSnapshotClass{rook, ebs}, api.MethodCSI},
		{"the named class is of another driver of the set", api.MethodAuto, "rook", ebsByCSI, []snapv1.VolumeSnapshotClass{rook}, api.MethodEBS},
		{"the named class does not exist", api.MethodAuto, "typo", ebsByCSI, []snapv1.VolumeSnapshotClass{ebs}, api.MethodCSI},
		{"no EBS volume", api.MethodAuto, "", csiOnly, nil, api.MethodCSI},
		{"nobody can", api.MethodAuto, "", hostPath, nil, api.MethodCSI},
		{"asked for EBS", api.MethodEBS, "", ebsByCSI, []snapv1.VolumeSnapshotClass{ebs}, api.MethodEBS},
		{"asked for CSI", api.MethodCSI, "", ebsInTree, nil, api.MethodCSI},
		{"asked for File", api.MethodFile, "", ebsByCSI, []snapv1.VolumeSnapshotClass{ebs}, api.MethodFile},
	} {
		spec := &api.BackupSpec{Method: tt.method}
		if tt.named != "" {
			spec.VolumeSnapshotClassName = &tt.named
		}
		if got := Choose(spec, tt.claim, tt.classes, false); got != tt.want {
			t.Errorf("%s: %s", tt.name, got)
		}
	}
}

// A catalog is where the files of those volumes go that nobody else can cut, and of no
// others.
func TestChooseWithACatalog(t *testing.T) {
	rook, ebs, mine := class("rook", "rook"), class("ebs", ebsDriver), "typo"
	for _, tt := range []struct {
		name    string
		spec    api.BackupSpec
		claim   cht.Claim
		classes []snapv1.VolumeSnapshotClass
		want    api.Method
	}{
		{"a class for the driver", api.BackupSpec{}, csiOnly, []snapv1.VolumeSnapshotClass{rook}, api.MethodCSI},
		{"two classes, which CSI tells to choose from", api.BackupSpec{}, csiOnly, []snapv1.VolumeSnapshotClass{rook, class("rook-2", "rook")}, api.MethodCSI},
		{"no class for the driver", api.BackupSpec{}, csiOnly, []snapv1.VolumeSnapshotClass{ebs}, api.MethodFile},
		{"no CSI volume", api.BackupSpec{}, hostPath, []snapv1.VolumeSnapshotClass{rook, {}}, api.MethodFile},
		{"no snapshot kinds", api.BackupSpec{}, hostPath, nil, api.MethodFile},
		{"EBS without a class", api.BackupSpec{}, ebsByCSI, nil, api.MethodEBS},
		{"a class that is not there", api.BackupSpec{VolumeSnapshotClassName: &mine}, csiOnly, []snapv1.VolumeSnapshotClass{rook}, api.MethodCSI},
		{"asked for CSI", api.BackupSpec{Method: api.MethodCSI}, hostPath, nil, api.MethodCSI},
		{"asked for EBS", api.BackupSpec{Method: api.MethodEBS}, hostPath, nil, api.MethodEBS},
	} {
		if got := Choose(&tt.spec, tt.claim, tt.classes, true); got != tt.want {
			t.Errorf("%s: %s", tt.name, got)
		}
	}
}

// part is one of the two, played.
type part struct {
	method                    api.Method
	classes                   []snapv1.VolumeSnapshotClass
	classErr, prepErr, cutErr error
	discardErr                error
	// block makes a cut wait until it is given up.
	block          bool
	size, left     int
	prepared       []string
	asked, marked  []string
	warmed, done   int
	discards, made int
}

func (p *part) Classes(context.Context) ([]snapv1.VolumeSnapshotClass, error) {
	return p.classes, p.classErr
}

func (p *part) Prepare(ctx context.Context, b *api.Backup, nodes []cht.Node) (cut.Prepared, error) {
	return p.PrepareOf(ctx, b, nodes, len(nodes))
}

func (p *part) PrepareOf(_ context.Context, _ *api.Backup, nodes []cht.Node, size int) (cut.Prepared, error) {
	p.size = size
	var volumes []api.VolumeStatus
	for _, n := range nodes {
		p.prepared = append(p.prepared, n.Service)
		volumes = append(volumes, api.VolumeStatus{Node: n.Service, Claim: n.Claim.Name, Method: p.method})
	}
	prepared := cut.Prepared{Done: func() { p.done++ }, Warm: func(context.Context) error { p.warmed++; return nil }, Make: func(ctx context.Context) ([]api.VolumeStatus, error) {
		if p.made++; p.block {
			<-ctx.Done()
			return nil, ctx.Err()
		}
		return volumes, p.cutErr
	}}
	if p.method == api.MethodEBS {
		prepared.Volumes = volumes
	}
	return prepared, p.prepErr
}

func (p *part) Refresh(_ context.Context, _ *api.Backup, volumes ...*api.VolumeStatus) error {
	for _, v := range volumes {
		p.asked = append(p.asked, v.Node)
	}
	return nil
}

func (p *part) Mark(_ context.Context, _ *api.Backup, volumes ...*api.VolumeStatus) error {
	for _, v := range volumes {
		p.marked = append(p.marked, v.Node)
	}
	return nil
}

func (p *part) Keep(ctx context.Context, b *api.Backup, volumes ...*api.VolumeStatus) error {
	return p.Mark(ctx, b, volumes...)
}

func (p *part) Discard(context.Context, *api.Backup) (int, error) {
	p.discards++
	return p.left, p.discardErr
}

func mixed() (Snapshotter, *part, *part, []cht.Node) {
	csi, ebs := &part{method: api.MethodCSI, classes: []snapv1.VolumeSnapshotClass{class("rook", "rook")}}, &part{method: api.MethodEBS}
	return Snapshotter{CSI: csi, EBS: ebs}, csi, ebs,
		[]cht.Node{{Service: "couchdb-1", Claim: ebsInTree}, {Service: "couchdb-2", Claim: csiOnly}, {Service: "couchdb-3", Claim: ebsByCSI}}
}

func TestAMixedSetIsOneCut(t *testing.T) {
	s, csi, ebs, nodes := mixed()
	p, err := s.Prepare(t.Context(), &api.Backup{}, nodes)
	if err != nil {
		t.Fatal(err)
	}
	if ebs.size != 3 || len(ebs.prepared) != 2 || len(csi.prepared) != 1 || len(p.Volumes) != 3 || p.Volumes[1].Method != api.MethodCSI || p.Volumes[1].Driver != "rook" {
		t.Errorf("%+v, %+v, %+v", csi, ebs, p.Volumes)
	}
	if err := p.Warm(t.Context()); err != nil || csi.warmed != 1 || ebs.warmed != 1 {
		t.Errorf("%v", err)
	}
	volumes, err := p.Make(t.Context())
	if err != nil || len(volumes) != 3 || volumes[0].Node != "couchdb-1" || volumes[1].Node != "couchdb-2" || volumes[1].Method != api.MethodCSI || volumes[2].Method != api.MethodEBS {
		t.Fatalf("%+v, %v", volumes, err)
	}
	all := []*api.VolumeStatus{&volumes[0], &volumes[1], &volumes[2]}
	if err := errors.Join(s.Refresh(t.Context(), &api.Backup{}, all...), s.Mark(t.Context(), &api.Backup{}, all...)); err != nil {
		t.Fatal(err)
	}
	if strings.Join(ebs.asked, " ") != "couchdb-1 couchdb-3" || strings.Join(csi.asked, " ") != "couchdb-2" || len(ebs.marked) != 2 || len(csi.marked) != 1 {
		t.Errorf("%+v, %+v", csi, ebs)
	}
	p.Done()
	if csi.done != 1 || ebs.done != 1 {
		t.Error("not both were closed")
	}
}

// One part that fails ends the other at once: writes are held.
func TestOnePartFails(t *testing.T) {
	for _, slow := range []string{"CSI", "EBS"} {
		s, csi, ebs, nodes := mixed()
		csi.block, ebs.block = slow == "CSI", slow == "EBS"
		csi.cutErr, ebs.cutErr = errors.New("refused"), errors.New("refused")
		p, err := s.Prepare(t.Context(), &api.Backup{}, nodes)
		if err != nil {
			t.Fatal(err)
		}
		if volumes, err := p.Make(t.Context()); err == nil || err.Error() != "refused" || volumes != nil {
			t.Errorf("%s hangs: %+v, %v", slow, volumes, err)
		}
	}
	s, csi, ebs, nodes := mixed()
	csi.prepErr = errors.New("no watch")
	if _, err := s.Prepare(t.Context(), &api.Backup{}, nodes); err == nil || ebs.done != 1 {
		t.Errorf("%v: what EBS had reserved was not given back", err)
	}
}

var noKind = &meta.NoKindMatchError{GroupKind: schema.GroupKind{Group: "snapshot.storage.k8s.io", Kind: "VolumeSnapshotClass"}}

func TestAClusterWithoutSnapshotKinds(t *testing.T) {
	s, csi, ebs, nodes := mixed()
	csi.classErr, csi.discardErr = noKind, noKind
	nodes = []cht.Node{nodes[0], nodes[2]}
	p, err := s.Prepare(t.Context(), &api.Backup{}, nodes)
	if err != nil || len(p.Volumes) != 2 || len(csi.prepared) != 0 || len(ebs.prepared) != 2 {
		t.Fatalf("%+v, %v", p, err)
	}
	if left, err := s.Discard(t.Context(), &api.Backup{}); left != 0 || err != nil {
		t.Errorf("%d, %v", left, err)
	}
	if _, err := s.Prepare(t.Context(), &api.Backup{Spec: api.BackupSpec{Method: api.MethodCSI}}, nodes); err == nil {
		t.Error("CSI was asked for, and cannot be had")
	}
}

func TestWhatAutoCannotCutSaysBothWays(t *testing.T) {
	s, _, ebs, nodes := mixed()
	ebs.prepErr = reason.Refuse(api.ReasonNoSnapshotClass, "no AWS credentials")
	for i, want := range map[int]string{0: "PersistentVolume of a CSI driver", 2: "VolumeSnapshotClass for driver " + ebsDriver} {
		_, err := s.Prepare(t.Context(), &api.Backup{}, nodes[i:i+1])
		if e := reason.Of(err); e == nil || e.Reason != api.ReasonNoSnapshotClass || !e.Final || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "no AWS credentials") {
			t.Errorf("%v", err)
		}
	}
}

// Files and snapshots of one set are one cut, and each volume is asked after by who cut
// it.
func TestFilesBesideSnapshotsInOneSet(t *testing.T) {
	s, csi, ebs, nodes := mixed()
	files := &part{method: api.MethodFile}
	s.File = files
	nodes = append(nodes, cht.Node{Service: "couchdb-4", Claim: hostPath})
	p, err := s.Prepare(t.Context(), &api.Backup{}, nodes)
	if err != nil {
		t.Fatal(err)
	}
	volumes, err := p.Make(t.Context())
	if err != nil || len(volumes) != 4 || volumes[3].Method != api.MethodFile || ebs.size != 4 || len(csi.prepared) != 1 {
		t.Fatalf("%+v, %v", volumes, err)
	}
	if err := s.Refresh(t.Context(), &api.Backup{}, &volumes[0], &volumes[1], &volumes[2], &volumes[3]); err != nil || strings.Join(files.asked, " ") != "couchdb-4" {
		t.Errorf("%v: %v", files.asked, err)
	}
	p.Done()
	if left, err := s.Discard(t.Context(), &api.Backup{Status: api.BackupStatus{Volumes: volumes}}); left != 0 || err != nil || csi.discards+ebs.discards+files.discards != 3 || files.done != 1 {
		t.Errorf("%d, %v: %+v", left, err, files)
	}
	// What one part has opened is closed when the next refuses.
	files.prepErr = reason.Refuse(api.ReasonCopierUnavailable, "no")
	if _, err := s.Prepare(t.Context(), &api.Backup{}, nodes); err == nil || ebs.done != 2 || csi.done != 2 {
		t.Errorf("%v: EBS closed %d times, CSI %d times", err, ebs.done, csi.done)
	}
}

func TestNoCatalog(t *testing.T) {
	s, csi, _, nodes := mixed()
	_, err := s.Prepare(t.Context(), &api.Backup{Spec: api.BackupSpec{Method: api.MethodFile}}, nodes)
	if e := reason.Of(err); e == nil || e.Reason != api.ReasonNoCatalog || !e.Final {
		t.Errorf("%v", err)
	}
	if err := s.Refresh(t.Context(), &api.Backup{}, &api.VolumeStatus{Node: "couchdb", Method: api.MethodFile}); reason.Of(err) == nil {
		t.Errorf("%v", err)
	}
	csi.prepErr = reason.Refuse(api.ReasonNoSnapshotClass, "it has no class")
	_, err = s.Prepare(t.Context(), &api.Backup{}, nodes[1:2])
	if e := reason.Of(err); e == nil || e.Reason != api.ReasonNoSnapshotClass || !strings.Contains(err.Error(), "catalog") {
		t.Errorf("it does not tell of the other way: %v", err)
	}
	files := &part{method: api.MethodFile}
	s.File, csi.classErr, csi.discardErr = files, noKind, noKind
	if _, err := s.Prepare(t.Context(), &api.Backup{Spec: api.BackupSpec{Method: api.MethodFile}}, nodes); err != nil || len(files.prepared) != 3 {
		t.Errorf("asked for in a cluster without snapshots: %v, %v", files.prepared, err)
	}
	if left, err := s.Discard(t.Context(), &api.Backup{Spec: api.BackupSpec{Method: api.MethodFile}}); left != 0 || err != nil || csi.discards != 0 {
		t.Errorf("%d, %v", left, err)
	}
}

func TestWhoIsAskedToDiscard(t *testing.T) {
	csiVolume, ebsVolume := api.VolumeStatus{Node: "couchdb-1"}, api.VolumeStatus{Node: "couchdb-2", Method: api.MethodEBS}
	for _, tt := range []struct {
		name    string
		method  api.Method
		volumes []api.VolumeStatus
		csi     int
	}{
		{"nothing is known", api.MethodAuto, nil, 1},
		{"of an older version", api.MethodAuto, []api.VolumeStatus{csiVolume}, 1},
		{"both", api.MethodAuto, []api.VolumeStatus{csiVolume, ebsVolume}, 1},
		{"all by EBS", api.MethodAuto, []api.VolumeStatus{ebsVolume}, 0},
		{"EBS was asked for", api.MethodEBS, nil, 0},
	} {
		csi, ebs := &part{left: 1}, &part{left: 2}
		left, err := Snapshotter{CSI: csi, EBS: ebs}.Discard(t.Context(), &api.Backup{Spec: api.BackupSpec{Method: tt.method}, Status: api.BackupStatus{Volumes: tt.volumes}})
		if csi.discards != tt.csi || ebs.discards != 1 || left != 2+tt.csi || err != nil {
			t.Errorf("%s: CSI %d times, EBS %d times, %d left, %v", tt.name, csi.discards, ebs.discards, left, err)
		}
	}
}
