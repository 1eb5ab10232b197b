package readiness

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	snapv1 "github.com/kubernetes-csi/external-snapshotter/client/v8/apis/volumesnapshot/v1"
	appsv1 "k8s.io/api/apps/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/cmd/kubectl-cht/internal/doctor"
	"github.com/medic/cht-backup/cmd/kubectl-cht/internal/status"
	"github.com/medic/cht-backup/snapshot/checkup"
	"github.com/medic/cht-backup/snapshot/cht"
	"github.com/medic/cht-backup/snapshot/reason"
	"github.com/medic/cht-backup/snapshot/served"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func ago(d time.Duration) time.Time { return noon.Add(-d) }

func lease(name string, renewed time.Duration) coordinationv1.Lease {
	at, who, lasts := metav1.NewMicroTime(ago(renewed)), "north/cht-backup", int32(300)
	return coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Namespace: "medic", Name: name}, Spec: coordinationv1.LeaseSpec{RenewTime: &at, HolderIdentity: &who, LeaseDurationSeconds: &lasts}}
}

func class(name, driver string, isDefault bool) snapv1.VolumeSnapshotClass {
	c := snapv1.VolumeSnapshotClass{ObjectMeta: metav1.ObjectMeta{Name: name}, Driver: driver}
	if isDefault {
		c.Annotations = map[string]string{"snapshot.storage.kubernetes.io/is-default-class": "true"}
	}
	return c
}

func backup(good bool, cataloged *metav1.Condition) api.Backup {
	b := api.Backup{ObjectMeta: metav1.ObjectMeta{Namespace: "medic", Name: "nightly"}}
	if good {
		cut := metav1.NewMicroTime(ago(8 * time.Hour))
		b.Status = api.BackupStatus{Phase: api.PhaseCompleted, CutTime: &cut, CompletionTime: &cut, Consistency: api.Consistent,
			Conditions: []metav1.Condition{{Type: api.ConditionReady, Status: metav1.ConditionTrue}}}
	}
	if cataloged != nil {
		b.Status.Conditions = append(b.Status.Conditions, *cataloged)
	}
	return b
}

// well is a cluster with one CHT in which all is as it should be.
func well() *Seen {
	s := &Seen{Version: "1.2.3", CRDVersion: "1.2.3", SnapshotKinds: true, Classes: []snapv1.VolumeSnapshotClass{class("loop", "loop", false)}, Status: &status.Report{Instances: []status.Instance{{Namespace: "medic", State: status.OK}}},
		Drivers: map[string][]string{"node-1": {"loop"}}, Nodes: map[string]time.Time{"node-1": ago(5 * time.Second)}, Skew: &checkup.Skew{Within: time.Second}, Serves: map[string]coordinationv1.Lease{},
		Reports: []checkup.Report{{Format: 1, Version: "v1.2.3", Time: ago(time.Minute), Catalog: "s3://b", Checks: []checkup.Check{{Check: checkup.CatalogReachable, OK: true}, {Check: checkup.FreezerAdmitted, OK: true, Namespace: "medic"}}}},
		Places: []Place{{Namespace: "medic", Freezer: Admission{Known: true}, Instance: &cht.Instance{Namespace: "medic", Nodes: []cht.Node{
			{Service: "couchdb", Pod: cht.Pod{NodeName: "node-1"}, Claim: cht.Claim{Name: "couchdb-claim0", Driver: "loop", Source: "a volume of CSI driver loop"}}}}}}}
	s.Cluster = doctor.Cluster{Namespace: "medic", System: "system", Unseen: map[string]string{}, Controllers: []appsv1.Deployment{{}},
		Backups: []api.Backup{backup(true, &metav1.Condition{Type: api.ConditionCataloged, Status: metav1.ConditionTrue})}}
	return s
}

func (s *Seen) claim() *cht.Claim { return &s.Places[0].Instance.Nodes[0].Claim }

func (s *Seen) found(check string, unknown bool, namespace, message string) {
	s.Reports[0].Checks = append(s.Reports[0].Checks, checkup.Check{Check: check, Unknown: unknown, Namespace: namespace, Message: message, Next: "do it"})
}

func (s *Seen) asks(spec api.BackupSpec) {
	s.Schedules = append(s.Schedules, api.BackupSchedule{ObjectMeta: metav1.ObjectMeta{Namespace: "medic", Name: "nightly"}, Spec: api.BackupScheduleSpec{Template: api.BackupTemplate{Spec: spec}}})
}

func (s *Seen) trouble(level status.Level, code string) {
	s.Status.Instances[0].Trouble = append(s.Status.Instances[0].Trouble, status.Trouble{Level: level, Code: code, Words: "words", Detail: "detail"})
}

func TestJudge(t *testing.T) {
	failed := &metav1.Condition{Type: api.ConditionCataloged, Status: metav1.ConditionFalse, Reason: api.ReasonCatalogFailed, Message: "no such host"}
	for _, tt := range []struct {
		name   string
		change func(*Seen)
		want   []string // severity check kind name: part of what
	}{
		{"all is well", func(*Seen) {}, nil},
		{"nothing may be seen", func(s *Seen) {
			*s = Seen{Cluster: doctor.Cluster{Namespace: "medic", System: "system", Unseen: map[string]string{kindReports: "no", kindClasses: "no", kindServes: "no"}}}
		}, nil},

		{"another serves it", func(s *Seen) { s.Reports[0].Namespaces = []string{"kisumu", "kilifi"} }, []string{"problem Serving namespace medic: serves kisumu, kilifi, and not this one"}},
		{"another serves it, and claims it", func(s *Seen) {
			s.Reports[0].Namespaces = []string{"kisumu"}
			s.Serves["medic"] = lease(ServesLease, 4*time.Minute)
		}, nil},
		{"the claim is of one that is gone", func(s *Seen) { s.Serves["medic"] = lease(ServesLease, time.Hour) }, []string{"problem Serving Lease cht-backup-serves: (north/cht-backup) renewed its claim last 60m ago"}},
		{"who serves it may not be seen", func(s *Seen) { s.Reports[0].Namespaces = []string{"kisumu"}; s.Unseen[kindServes] = "no" }, nil},

		{"another version", func(s *Seen) { s.Version = "1.3.0" }, []string{"warning Version controller cht-backup: of version v1.2.3, this plugin of 1.3.0"}},
		{"a version that is none", func(s *Seen) { s.Version = "dev" }, nil},
		{"older kinds", func(s *Seen) { s.CRDVersion = "1.2.0" }, []string{"problem Version CustomResourceDefinitions backup.communityhealthtoolkit.org: of version 1.2.0"}},
		{"newer kinds", func(s *Seen) { s.CRDVersion = "1.4.0" }, nil},

		{"no check-up", func(s *Seen) { s.Reports = nil }, []string{"warning Checkup controller cht-backup: no check-up"}},
		{"no check-up, and no controller", func(s *Seen) { s.Reports, s.Controllers = nil, nil }, nil},
		{"check-ups may not be seen", func(s *Seen) { s.Reports = nil; s.Unseen[kindReports] = "no" }, nil},
		{"a check-up of last night", func(s *Seen) {
			s.Reports[0].Time = ago(9 * time.Hour)
			s.found(checkup.Permissions, false, "", "may not")
		}, []string{"problem Checkup controller cht-backup: looked at itself last 9h ago"}},
		{"one that cannot be read", func(s *Seen) { s.Unread = []string{"format 9"} }, []string{"warning Checkup ConfigMap check-up: format 9"}},
		{"a right lacks", func(s *Seen) { s.found(checkup.Permissions, false, "", "may not list nodes") }, []string{"problem Permissions controller cht-backup: may not list nodes"}},
		{"a right lacks here", func(s *Seen) { s.found(checkup.Permissions, false, "medic", "may not") }, []string{"problem Permissions namespace medic: may not"}},
		{"a right lacks elsewhere", func(s *Seen) { s.found(checkup.Permissions, false, "kisumu", "may not") }, nil},
		{"it is not known", func(s *Seen) { s.found(checkup.Permissions, true, "", "no answer") }, []string{"information Permissions controller cht-backup: no answer"}},
		{"the catalog is away", func(s *Seen) { s.found(checkup.CatalogReachable, false, "", "no such host") }, []string{"problem CatalogReachable catalog s3://b: no such host"}},
		{"there is no catalog", func(s *Seen) { s.Reports[0].Catalog = ""; s.found(checkup.CatalogReachable, false, "", "none") }, []string{"warning CatalogReachable catalog (none): none"}},
		{"the catalog is on a volume", func(s *Seen) { s.found(checkup.CatalogOutside, false, "", "volume") }, []string{"warning CatalogOutside catalog s3://b: volume"}},
		{"the controller sees no class, and neither do we", func(s *Seen) { s.found(checkup.SnapshotClasses, false, "", "none"); s.Unseen[kindClasses] = "no" }, []string{"warning SnapshotClasses controller cht-backup: none"}},
		{"the controller sees two classes that nobody needs", func(s *Seen) { s.found(checkup.SnapshotClasses, false, "", "two") }, nil},
		{"a check of a later version", func(s *Seen) { s.found("Moon", false, "", "full") }, []string{"problem Moon controller cht-backup: full"}},
		{"rights of one's own", func(s *Seen) { s.Denied = []string{"take backups", "restore or drill"} }, []string{"information YourRights you in namespace medic: you may not take backups, restore or drill"}},

		{"this machine's clock", func(s *Seen) {
			s.Skew.Ahead = time.Minute
			s.Nodes["node-1"] = noon.Add(time.Minute)
		}, []string{"warning Clock this machine clock: 1m0s ahead, compared with this machine's"}},
		{"a node's clock is ahead", func(s *Seen) { s.Nodes["node-1"] = noon.Add(time.Minute) }, []string{"problem Clock node node-1: its clock is 60s ahead"}},
		{"a node's clock is behind", func(s *Seen) { s.Nodes["node-1"] = ago(3 * time.Minute) }, []string{"problem Clock node node-1: renewed its Lease 3m ago"}},
		{"nobody knows the time", func(s *Seen) { s.Skew = nil; s.Nodes["node-1"] = ago(time.Hour) }, nil},

		{"a backup would be refused", func(s *Seen) {
			s.Places[0].Instance, s.Places[0].Refusal = nil, reason.Refuse(api.ReasonPodNotReady, "pod x is not ready")
		}, []string{"problem Instance CHT medic: PodNotReady: pod x is not ready"}},
		{"refused without a reason", func(s *Seen) { s.Places[0].Instance, s.Places[0].Refusal = nil, errors.New("odd") }, []string{"problem Instance CHT medic: odd"}},
		{"storage that cannot snapshot, and a catalog", func(s *Seen) { s.claim().Driver, s.claim().Source = "", "a hostPath volume (/x)" }, []string{"information Storage claim couchdb-claim0: the files of couchdb (a hostPath volume (/x)) are copied into the catalog s3://b"}},
		{"and a catalog in the cluster", func(s *Seen) {
			s.claim().Driver, s.claim().Source, s.Reports[0].Catalog = "", "a hostPath volume (/x)", "file:///c"
		}, []string{"warning Storage claim couchdb-claim0: has to have room for them"}},
		{"no class, and a catalog", func(s *Seen) { s.Classes = nil }, []string{"information Storage claim couchdb-claim0: are copied into the catalog"}},
		{"files are asked for without a catalog", func(s *Seen) {
			s.Reports[0].Catalog = ""
			s.asks(api.BackupSpec{Method: api.MethodFile})
		}, []string{"problem Storage claim couchdb-claim0: method File is asked for"}},
		{"storage that cannot snapshot", func(s *Seen) {
			s.Reports[0].Catalog = ""
			s.claim().Driver, s.claim().Source = "", "a hostPath volume (/x)"
		}, []string{"problem Storage claim couchdb-claim0: the volume of couchdb is a hostPath volume (/x), of which no snapshot"}},
		{"no class", func(s *Seen) { s.Reports[0].Catalog = ""; s.Classes = nil }, []string{"problem Storage claim couchdb-claim0: driver loop of claim medic/couchdb-claim0 has no VolumeSnapshotClass"}},
		{"no kinds", func(s *Seen) { s.Reports[0].Catalog = ""; s.Classes, s.SnapshotKinds = nil, false }, []string{"problem Storage claim couchdb-claim0: does not know VolumeSnapshots"}},
		{"classes may not be seen", func(s *Seen) { s.Classes, s.SnapshotKinds, s.Unseen[kindClasses] = nil, false, "no" }, nil},
		{"two classes", func(s *Seen) { s.Classes = append(s.Classes, class("other", "loop", false)) }, []string{"problem Storage claim couchdb-claim0: several VolumeSnapshotClasses (loop, other)"}},
		{"two classes, one of them the default", func(s *Seen) { s.Classes = append(s.Classes, class("other", "loop", true)) }, nil},
		{"a schedule names a class that is not there", func(s *Seen) {
			typo := "typo"
			s.asks(api.BackupSpec{VolumeSnapshotClassName: &typo})
			s.asks(api.BackupSpec{VolumeSnapshotClassName: &typo})
		}, []string{"problem Storage claim couchdb-claim0: there is no VolumeSnapshotClass typo"}},
		{"EC2 cuts it", func(s *Seen) {
			s.Classes = nil
			s.claim().EBS, s.claim().Driver, s.Drivers["node-1"] = &cht.EBS{VolumeID: "vol-1"}, cht.EBSDriver, []string{cht.EBSDriver}
		}, []string{"information Storage claim couchdb-claim0: (vol-1) is cut by EC2 itself"}},
		{"EC2 is asked for, and cannot", func(s *Seen) { s.asks(api.BackupSpec{Method: api.MethodEBS}) }, []string{"problem Storage claim couchdb-claim0: method EBS is asked for"}},
		{"the driver is not on the node", func(s *Seen) { s.Drivers["node-1"] = []string{"other"} }, []string{"problem Driver node node-1: loop of claim medic/couchdb-claim0 is not registered"}},
		{"the node's drivers are not known", func(s *Seen) { s.Drivers = nil }, nil},
		{"no snapshot-controller", func(s *Seen) {
			s.Snapshots = []snapv1.VolumeSnapshot{{ObjectMeta: metav1.ObjectMeta{Namespace: "medic", Name: "s", CreationTimestamp: metav1.NewTime(ago(time.Hour))}}}
		}, []string{"problem SnapshotController VolumeSnapshot s: nobody has taken it up for 60m"}},
		{"a snapshot of this minute", func(s *Seen) {
			s.Snapshots = []snapv1.VolumeSnapshot{{ObjectMeta: metav1.ObjectMeta{Name: "s", CreationTimestamp: metav1.NewTime(ago(time.Minute))}}}
		}, nil},
		{"a snapshot-controller that is gone", func(s *Seen) { l := lease(snapshotLease, time.Hour); s.SnapshotLease = &l }, []string{"problem SnapshotController Lease snapshot-controller-leader: renewed last 60m ago"}},

		{"the freezer is not admitted, by a trial", func(s *Seen) {
			s.Reports[0].Checks = nil
			s.Places[0].Freezer = Admission{Known: true, Refusal: "violates PodSecurity", Source: "a dry run"}
		}, []string{"information Freezer namespace medic: violates PodSecurity (a dry run); quiesce Auto takes Pause"}},
		{"the controller knows better", func(s *Seen) {
			s.Places[0].Freezer = Admission{Known: true, Refusal: "violates PodSecurity", Source: "a dry run"}
		}, nil},
		{"the controller says no", func(s *Seen) { s.Reports[0].Checks = nil; s.found(checkup.FreezerAdmitted, false, "medic", "violates") }, []string{"information Freezer namespace medic: violates (the controller's check-up)"}},
		{"Freeze is asked for", func(s *Seen) {
			s.Reports[0].Checks = nil
			s.found(checkup.FreezerAdmitted, false, "medic", "violates")
			s.asks(api.BackupSpec{})
			s.asks(api.BackupSpec{Quiesce: api.QuiesceFreeze})
		}, []string{"problem Freezer namespace medic: quiesce Freeze is asked for, so that backups fail"}},
		{"Freeze, or less", func(s *Seen) {
			s.Reports[0].Checks = nil
			s.found(checkup.FreezerAdmitted, false, "medic", "violates")
			s.asks(api.BackupSpec{Quiesce: api.QuiesceFreeze, OnUnavailable: "Degrade"})
		}, []string{"warning Freezer namespace medic: no more than CrashConsistent"}},
		{"Pause is asked for", func(s *Seen) {
			s.Reports[0].Checks = nil
			s.found(checkup.FreezerAdmitted, false, "medic", "violates")
			s.asks(api.BackupSpec{Quiesce: api.QuiescePause})
		}, []string{"information Freezer namespace medic: nobody asks for one here"}},

		{"isolation is not enforced", func(s *Seen) {
			for i, result := range []api.IsolationResult{api.IsolationNotEnforced, api.IsolationEnforced} {
				s.Restores = append(s.Restores, api.Restore{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprint("r", i)}, Status: api.RestoreStatus{Isolation: &api.Isolation{Result: result, Message: "reached it", Time: metav1.NewMicroTime(ago(time.Duration(i+1) * time.Hour))}}})
			}
		}, []string{"problem Isolation restore r0: 60m ago, says NotEnforced: reached it"}},
		{"isolation was not proven", func(s *Seen) {
			s.Restores = []api.Restore{{ObjectMeta: metav1.ObjectMeta{Name: "r"}, Status: api.RestoreStatus{Isolation: &api.Isolation{Result: api.IsolationNotProved, Time: metav1.NewMicroTime(ago(time.Hour))}}}}
		}, []string{"warning Isolation restore r: says NotProved"}},

		{"not in the catalog", func(s *Seen) { s.Backups = []api.Backup{backup(true, failed)} }, []string{"problem Catalog backup nightly: completed 8h ago, is not in the catalog: no such host"}},
		{"a failed one needs none", func(s *Seen) { s.Backups = []api.Backup{backup(false, failed)} }, nil},
		{"only an older one is not there", func(s *Seen) {
			older := backup(true, failed)
			cut := metav1.NewMicroTime(ago(30 * time.Hour))
			older.Status.CutTime = &cut
			s.Backups = append(s.Backups, older)
		}, nil},

		{"nothing backs it up", func(s *Seen) { s.trouble(status.Warning, status.NoSchedule) }, []string{"problem Schedules CHT medic: words: detail (NoSchedule)"}},
		{"never backed up", func(s *Seen) { s.trouble(status.Critical, status.NeverBackedUp) }, []string{"problem Schedules CHT medic: (NeverBackedUp)"}},
		{"never proven", func(s *Seen) { s.trouble(status.Warning, status.NeverProven) }, []string{"warning Schedules CHT medic: (NeverProven)"}},
		{"a note", func(s *Seen) { s.trouble(status.Note, status.Held) }, nil},
		{"no CHT", func(s *Seen) { s.Status.Instances, s.Places = nil, nil }, []string{"information Instance namespace medic: there is no CHT"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := well()
			tt.change(s)
			got := Judge(*s, noon)
			if len(got) != len(tt.want) {
				t.Fatalf("%+v\nwant %q", got, tt.want)
			}
			for i, f := range got {
				head, part, _ := strings.Cut(tt.want[i], ": ")
				if says := fmt.Sprintf("%s %s %s %s", f.Severity, f.Check, f.Kind, f.Name); says != head || !strings.Contains(f.What, part) {
					t.Errorf("%s: %s\nwant %s", says, f.What, tt.want[i])
				}
				if f.Next == "" || f.Name == "" {
					t.Errorf("no next step, or no object: %+v", f)
				}
				if f.Check != "Moon" && !slices.Contains(Checks, f.Check) {
					t.Errorf("check %s cannot be asked for", f.Check)
				}
			}
		})
	}
}

func TestTheLeaseIsTheControllers(t *testing.T) {
	if ServesLease != served.LeaseName {
		t.Errorf("the controller claims a namespace by %s", served.LeaseName)
	}
}

func TestEveryCheckIsDocumented(t *testing.T) {
	page, err := os.ReadFile("../../../../docs/doctor.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, check := range Checks {
		if !strings.Contains(string(page), "\n| `"+check+"`") && !strings.Contains(string(page), ", `"+check+"` |") {
			t.Errorf("docs/doctor.md does not explain %s", check)
		}
	}
}

func TestEveryTroubleHasANextStep(t *testing.T) {
	for _, code := range []string{status.NeverBackedUp, status.NoSchedule, status.Suspended, status.InvalidSchedule, status.Unattended, status.RecoveryPointOld, status.BackupsFailed, status.FoundBroken,
		status.DrillFailed, status.NeverProven, status.ProofOld, status.RunsMissed, status.ScheduleNotReady, status.CrashConsistent} {
		if got := next(code, "medic"); !strings.Contains(got, "medic") {
			t.Errorf("%s: %s", code, got)
		}
	}
}
