package readiness

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"

	coordinationv1 "k8s.io/api/coordination/v1"
	"k8s.io/apimachinery/pkg/util/duration"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/cmd/kubectl-cht/internal/doctor"
	"github.com/medic/cht-backup/cmd/kubectl-cht/internal/status"
	"github.com/medic/cht-backup/snapshot/checkup"
	"github.com/medic/cht-backup/snapshot/cht"
	"github.com/medic/cht-backup/snapshot/csi"
	"github.com/medic/cht-backup/snapshot/method"
	"github.com/medic/cht-backup/snapshot/reason"
)

// ServesLease is the name of the Lease by which a controller claims a namespace.
const ServesLease = "cht-backup-serves"

func holder(l coordinationv1.Lease) string {
	if l.Spec.HolderIdentity != nil && *l.Spec.HolderIdentity != "" {
		return *l.Spec.HolderIdentity
	}
	return "it says no name"
}

// storage: each volume must have a way to be cut.
func storage(s *Seen, _ time.Time) (all []doctor.Finding) {
	for _, p := range s.Places {
		if p.Refusal != nil {
			all = append(all, refusal(p))
		}
		if p.Instance == nil {
			continue
		}
		for _, n := range p.Instance.Nodes {
			if s.saw(kindClasses) {
				told := map[string]bool{}
				for _, spec := range s.specs(p.Namespace) {
					if f, wrong := s.cut(p.Namespace, n.Service, &spec, n.Claim); wrong && !told[f.What] {
						told[f.What] = true
						all = append(all, f)
					}
				}
			}
			if drivers, known := s.Drivers[n.Pod.NodeName]; known && n.Claim.Driver != "" && !slices.Contains(drivers, n.Claim.Driver) {
				all = append(all, finding(doctor.Problem, CheckDriver, "node", "", n.Pod.NodeName, "see the driver's DaemonSet there: kubectl get csinode "+n.Pod.NodeName+" -o yaml",
					"the CSI driver %s of claim %s/%s is not registered there, where %s runs: the freezer cannot mount the volume", n.Claim.Driver, p.Namespace, n.Claim.Name, n.Service))
			}
		}
	}
	return all
}

// refusal tells why a backup would refuse the instance.
func refusal(p Place) doctor.Finding {
	check, what := CheckInstance, p.Refusal.Error()
	var e *reason.Error
	if errors.As(p.Refusal, &e) {
		what = e.Reason + ": " + what
	}
	return finding(doctor.Problem, check, "CHT", "", p.Namespace, "put that right; a backup would be refused with this reason now", "%s", what)
}

// cut tells how a claim's volume cannot be cut, or what that takes.
func (s *Seen) cut(namespace, service string, spec *api.BackupSpec, claim cht.Claim) (doctor.Finding, bool) {
	tell := func(severity doctor.Severity, next, format string, args ...any) (doctor.Finding, bool) {
		return finding(severity, CheckStorage, "claim", namespace, claim.Name, next, format, args...), true
	}
	catalog := s.catalogOf(namespace)
	switch method.Choose(spec, claim, s.Classes, catalog != "") {
	case api.MethodFile:
		if catalog == "" {
			return tell(doctor.Problem, "set controller.catalog.url (docs/catalog.md)", "method File is asked for, which copies the files of %s into the catalog, and none is configured", service)
		}
		if strings.HasPrefix(catalog, "file:") {
			return tell(doctor.Warning, "choose a bucket (controller.catalog.url), or make the catalog's claim large enough for all data and what changes of it (docs/file.md)",
				"the files of %s (a volume of %s) are copied into the catalog %s, which is a volume of this cluster itself: it has to have room for them, 1 GiB if nobody chose, and is lost with the cluster", service, giB(claim.Capacity), catalog)
		}
		return tell(doctor.Information, "nothing, if that is meant; see docs/file.md for what it costs beside snapshots", "the files of %s (%s) are copied into the catalog %s: nothing here makes snapshots of that volume", service, claim.Source, catalog)
	case api.MethodEBS:
		if claim.EBS == nil {
			return tell(doctor.Problem, "set method Auto or CSI", "method EBS is asked for, and the volume of %s is %s", service, claim.Source)
		}
		return tell(doctor.Information, "let the controller into EC2 as docs/ebs.md says, or create a VolumeSnapshotClass for driver ebs.csi.aws.com", "the volume of %s (%s) is cut by EC2 itself, for which the controller needs rights in AWS", service, claim.EBS.VolumeID)
	}
	if claim.Driver == "" {
		return tell(doctor.Problem, "configure a catalog (controller.catalog.url), and the files are copied there (docs/file.md), or move the data to a storage class whose CSI driver can snapshot; see \"Storage that cannot snapshot\" in docs/doctor.md", "the volume of %s is %s, of which no snapshot can be made", service, claim.Source)
	}
	if !s.SnapshotKinds {
		return tell(doctor.Problem, "install the CRDs and the controller of https://github.com/kubernetes-csi/external-snapshotter", "the cluster does not know VolumeSnapshots, by which the volume of %s (driver %s) is cut", service, claim.Driver)
	}
	// Its deletionPolicy does not matter: the controller sets that of each content.
	if _, err := csi.ClassFor(namespace, claim, spec.VolumeSnapshotClassName, s.Classes); err != nil {
		return tell(doctor.Problem, "kubectl get volumesnapshotclass; the driver's documentation has one to copy", "%s", err.Error())
	}
	return doctor.Finding{}, false
}

// catalogOf is the catalog of the controller that serves a namespace, as it says itself;
// "" where it has none, or is not known to have one.
func (s *Seen) catalogOf(namespace string) string {
	for _, r := range s.Reports {
		if r.Serves(namespace) && r.Catalog != "" {
			return r.Catalog
		}
	}
	return ""
}

func giB(n int64) string { return fmt.Sprintf("%.1f GiB", float64(n)/(1<<30)) }

// untaken is how long a VolumeSnapshot may lie before somebody takes it up.
const untaken = 2 * time.Minute

// snapshotController: nothing tells of it but what it does, and its Lease.
func snapshotController(s *Seen, now time.Time) (all []doctor.Finding) {
	const next = "see the snapshot-controller (it comes with some clusters, otherwise with https://github.com/kubernetes-csi/external-snapshotter): kubectl get pods -A | grep snapshot-controller"
	for i := range s.Snapshots {
		v := &s.Snapshots[i]
		taken := v.Status != nil && (v.Status.BoundVolumeSnapshotContentName != nil || v.Status.Error != nil)
		if since := now.Sub(v.CreationTimestamp.Time); !taken && v.DeletionTimestamp == nil && since > untaken {
			return append(all, finding(doctor.Problem, CheckSnapshotController, "VolumeSnapshot", v.Namespace, v.Name, next, "nobody has taken it up for %s: no snapshot-controller works", duration.HumanDuration(since)))
		}
	}
	if l := s.SnapshotLease; l != nil && l.Spec.RenewTime != nil {
		if late := now.Sub(l.Spec.RenewTime.Time); late > leaseGrace {
			all = append(all, finding(doctor.Problem, CheckSnapshotController, "Lease", l.Namespace, l.Name, next, "no snapshot-controller leads: its Lease was renewed last %s ago", duration.HumanDuration(late)))
		}
	}
	return all
}

// freezers: what becomes of the quiesce that the schedules ask for.
func freezers(s *Seen, now time.Time) (all []doctor.Finding) {
	for _, p := range s.Places {
		admission := p.Freezer
		for _, r := range s.fresh(now) { // the controller makes the pods: it knows best
			for _, c := range r.Checks {
				if c.Check == checkup.FreezerAdmitted && c.Namespace == p.Namespace && !c.Unknown {
					admission = Admission{Known: true, Source: "the controller's check-up"}
					if !c.OK {
						admission.Refusal = c.Message
					}
				}
			}
		}
		if !admission.Known || admission.Refusal == "" {
			continue
		}
		severity, then := doctor.Information, "quiesce Auto takes Pause then, which holds writes for 2 s at most"
		for _, spec := range s.specs(p.Namespace) {
			switch cmp.Or(spec.Quiesce, api.QuiesceAuto) {
			case api.QuiesceFreeze:
				severity, then = doctor.Problem, "quiesce Freeze is asked for, so that backups fail"
				if spec.OnUnavailable == "Degrade" {
					severity, then = doctor.Warning, "quiesce Freeze is asked for, so that backups are no more than CrashConsistent (onUnavailable: Degrade)"
				}
			case api.QuiescePause, api.QuiesceNone:
				if severity == doctor.Information {
					then = "nobody asks for one here"
				}
			}
		}
		all = append(all, finding(severity, CheckFreezer, "namespace", "", p.Namespace, checkup.FreezerNext, "a freezer pod is not admitted: %s (%s); %s", admission.Refusal, admission.Source, then))
	}
	return all
}

// isolation: what the newest proof said.
func isolation(s *Seen, now time.Time) []doctor.Finding {
	var newest *api.Restore
	for i := range s.Restores {
		r := &s.Restores[i]
		if r.Status.Isolation != nil && (newest == nil || r.Status.Isolation.Time.After(newest.Status.Isolation.Time.Time)) {
			newest = r
		}
	}
	if newest == nil || newest.Status.Isolation.Result == api.IsolationEnforced {
		return nil
	}
	severity, next := doctor.Warning, "see docs/isolation.md for what a proof needs"
	if newest.Status.Isolation.Result == api.IsolationNotEnforced {
		severity, next = doctor.Problem, "use a network plugin that enforces NetworkPolicies (docs/isolation.md); until then keep Sentinel of clones at 0"
	}
	return []doctor.Finding{finding(severity, CheckIsolation, "restore", newest.Namespace, newest.Name, next, "the newest proof of isolation, %s ago, says %s: %s", duration.HumanDuration(now.Sub(newest.Status.Isolation.Time.Time)), newest.Status.Isolation.Result, newest.Status.Isolation.Message)}
}

// settled is how long after its end a backup may be without its record in the catalog.
const settled = 15 * time.Minute

// catalogs: the newest good backup of each namespace must be in the catalog.
func catalogs(s *Seen, now time.Time) (all []doctor.Finding) {
	newest := map[string]*api.Backup{}
	for i := range s.Backups {
		b := &s.Backups[i]
		if b.Supersedes(newest[b.Namespace]) {
			newest[b.Namespace] = b
		}
	}
	for _, namespace := range sorted(newest) {
		b := newest[namespace]
		c := meta.FindStatusCondition(b.Status.Conditions, api.ConditionCataloged)
		done := b.Status.CompletionTime
		if c == nil || c.Status != "False" || c.Reason != api.ReasonCatalogFailed || done == nil || now.Sub(done.Time) < settled {
			continue
		}
		all = append(all, finding(doctor.Problem, CheckCatalog, "backup", b.Namespace, b.Name, "check the catalog's URL, the network and the controller's credentials (docs/catalog.md); it is tried again every 5 minutes",
			"the newest good backup, completed %s ago, is not in the catalog: %s", duration.HumanDuration(now.Sub(done.Time)), c.Message))
	}
	return all
}

// schedules tells what `kubectl cht status` finds; who cannot be backed up tonight is a
// problem, whatever the level there.
func schedules(s *Seen, _ time.Time) (all []doctor.Finding) {
	if s.Status == nil {
		return nil
	}
	if s.Namespace != "" && len(s.Status.Instances) == 0 && len(s.Status.Clones) == 0 {
		all = append(all, finding(doctor.Information, CheckInstance, "namespace", "", s.Namespace, "give the namespace of a CHT with -n, or look at all with -A", "there is no CHT, no backup and no schedule that you may see"))
	}
	tonight := []string{status.NoSchedule, status.RunsMissed, status.ScheduleNotReady, status.DrillFailed}
	for i := range s.Status.Instances {
		in := &s.Status.Instances[i]
		for _, t := range in.Trouble {
			severity := doctor.Problem
			switch {
			case t.Level == status.Note:
				continue
			case t.Level == status.Warning && !slices.Contains(tonight, t.Code):
				severity = doctor.Warning
			}
			what := t.Words
			if t.Detail != "" {
				what += ": " + t.Detail
			}
			all = append(all, finding(severity, CheckSchedules, "CHT", "", in.Namespace, next(t.Code, in.Namespace), "%s (%s)", strings.TrimSuffix(what, "."), t.Code))
		}
	}
	return all
}

func next(code, namespace string) string {
	n := " -n " + namespace
	switch code {
	case status.NeverBackedUp:
		return "kubectl cht backup" + n
	case status.NoSchedule:
		return `kubectl cht schedule create nightly --schedule "0 2 * * *"` + n
	case status.Suspended:
		return "kubectl cht schedule resume NAME" + n
	case status.NeverProven, status.ProofOld:
		return "kubectl cht drill" + n + ", or a drill in the schedule (docs/drills.md)"
	case status.DrillFailed, status.FoundBroken:
		return "kubectl cht list" + n + ", then kubectl cht describe NAME" + n + "; take a new backup and drill it"
	case status.Unattended:
		return "see the findings on the controller; kubectl cht doctor --check Controller,Serving" + n
	case status.BackupsFailed, status.RecoveryPointOld:
		return "kubectl cht describe on the newest failed backup says why; then kubectl cht backup" + n
	default:
		return fmt.Sprintf("kubectl cht status%s -o wide, and kubectl cht describe on the schedule", n)
	}
}
