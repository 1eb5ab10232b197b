package readiness

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/util/duration"
	"k8s.io/apimachinery/pkg/util/version"

	"github.com/medic/cht-backup/cmd/kubectl-cht/internal/doctor"
	"github.com/medic/cht-backup/snapshot/checkup"
)

// Judge gives what there is to say at a time.
func Judge(s Seen, now time.Time) []doctor.Finding {
	var all []doctor.Finding
	for _, part := range []func(*Seen, time.Time) []doctor.Finding{
		serving, versions, reports, rights, clocks, storage, snapshotController, freezers, isolation, catalogs, schedules,
	} {
		all = append(all, part(&s, now)...)
	}
	return doctor.Sort(all)
}

func finding(severity doctor.Severity, check, kind, namespace, name, next, format string, args ...any) doctor.Finding {
	return doctor.Finding{Severity: severity, Check: check, Kind: kind, Namespace: namespace, Name: name, What: fmt.Sprintf(format, args...), Next: next}
}

// fresh gives the reports that somebody still renews.
func (s *Seen) fresh(now time.Time) (all []checkup.Report) {
	for _, r := range s.Reports {
		if now.Sub(r.Time) <= checkup.Stale {
			all = append(all, r)
		}
	}
	return all
}

// asked are the namespaces that are looked at one by one: the one that was named, or
// those with a CHT.
func (s *Seen) asked() (all []string) {
	if s.Namespace != "" {
		return []string{s.Namespace}
	}
	for _, p := range s.Places {
		all = append(all, p.Namespace)
	}
	return all
}

// leaseGrace is how late a renewal may be: clocks differ.
const leaseGrace = 2 * time.Minute

// serving: somebody must work on the namespace. A controller with a list claims those
// of it by a Lease each, and one that serves all leaves those alone.
func serving(s *Seen, now time.Time) (all []doctor.Finding) {
	fresh := s.fresh(now)
	for _, namespace := range s.asked() {
		lease, claimed := s.Serves[namespace]
		if claimed && lease.Spec.RenewTime != nil {
			lasts := leaseGrace
			if d := lease.Spec.LeaseDurationSeconds; d != nil {
				lasts += time.Duration(*d) * time.Second
			}
			if late := now.Sub(lease.Spec.RenewTime.Time); late > lasts {
				all = append(all, finding(doctor.Problem, CheckServing, "Lease", namespace, ServesLease, "have that controller run; or, if it is gone for good, kubectl delete lease "+ServesLease+" -n "+namespace,
					"the controller that serves this namespace (%s) renewed its claim last %s ago", holder(lease), duration.HumanDuration(late)))
			}
			continue
		}
		serves := slices.ContainsFunc(fresh, func(r checkup.Report) bool { return r.Serves(namespace) })
		if len(fresh) > 0 && !serves && s.saw(kindServes) {
			all = append(all, finding(doctor.Problem, CheckServing, "namespace", "", namespace, "add it to `namespaces` of the controller's chart, or give the right controller with --system-namespace",
				"the controller in %s serves %s, and not this one: nothing is backed up or restored here", s.System, strings.Join(fresh[0].Namespaces, ", ")))
		}
	}
	return all
}

// versions: what the older of two does not know it refuses, or drops.
func versions(s *Seen, now time.Time) (all []doctor.Finding) {
	for _, r := range s.fresh(now) {
		if differ(r.Version, s.Version) != 0 {
			all = append(all, finding(doctor.Warning, CheckVersion, "controller", s.System, "cht-backup", "use the plugin of the controller's version, or upgrade the chart", "the controller is of version %s, this plugin of %s", r.Version, s.Version))
		}
		if s.CRDVersion != "" && differ(s.CRDVersion, r.Version) < 0 {
			all = append(all, finding(doctor.Problem, CheckVersion, "CustomResourceDefinitions", "", "backup.communityhealthtoolkit.org", "kubectl apply --server-side -f charts/cht-backup/crds (Helm does not renew them by itself; crds.upgrade of the chart does)",
				"they are of version %s, the controller is of %s: fields that it needs are dropped", s.CRDVersion, r.Version))
		}
	}
	return all
}

// differ compares two versions, and gives 0 where one of them is none.
func differ(a, b string) int {
	one, err := version.ParseSemantic(a)
	if err != nil {
		return 0
	}
	other, err := version.ParseSemantic(b)
	if err != nil {
		return 0
	}
	c, err := one.Compare(other.String())
	if err != nil {
		return 0
	}
	return c
}

// reports tells what the controllers found about themselves, but what is judged here
// with more at hand.
func reports(s *Seen, now time.Time) (all []doctor.Finding) {
	for _, text := range s.Unread {
		all = append(all, finding(doctor.Warning, CheckCheckup, "ConfigMap", s.System, "check-up", "see the log of the controller", "%s", text))
	}
	if len(s.Reports) == 0 && len(s.Unread) == 0 && s.saw(kindReports) && len(s.Controllers) > 0 {
		all = append(all, finding(doctor.Warning, CheckCheckup, "controller", s.System, "cht-backup", "upgrade the chart cht-backup; if it is of this version, see the controller's log", "it has published no check-up of itself: what it may do and whether it reaches the catalog is not known"))
	}
	for _, r := range s.Reports {
		if age := now.Sub(r.Time); age > checkup.Stale {
			all = append(all, finding(doctor.Problem, CheckCheckup, "controller", s.System, "cht-backup", "kubectl logs -n "+s.System+" -l app.kubernetes.io/name=cht-backup", "it looked at itself last %s ago, and should every %s: it does not run, or hangs", duration.HumanDuration(age), duration.HumanDuration(checkup.Interval)))
		}
	}
	for _, r := range s.fresh(now) {
		for _, c := range r.Checks {
			if f, told := s.of(r, c); told {
				all = append(all, f)
			}
		}
	}
	return all
}

// of makes a finding of a check of a report, if there is one to be told here.
func (s *Seen) of(r checkup.Report, c checkup.Check) (doctor.Finding, bool) {
	if c.OK || c.Namespace != "" && c.Namespace != s.System && s.Namespace != "" && c.Namespace != s.Namespace {
		return doctor.Finding{}, false
	}
	severity := doctor.Problem
	switch {
	case c.Check == checkup.FreezerAdmitted:
		return doctor.Finding{}, false // judged by what the schedules ask for
	case (c.Check == checkup.SnapshotKinds || c.Check == checkup.SnapshotClasses) && s.saw(kindClasses):
		return doctor.Finding{}, false // judged by the volumes that there are
	case c.Unknown:
		severity = doctor.Information
	case c.Check == checkup.SnapshotKinds, c.Check == checkup.SnapshotClasses, c.Check == checkup.CatalogOutside, c.Check == checkup.CatalogRecipients,
		c.Check == checkup.CatalogReachable && r.Catalog == "":
		severity = doctor.Warning
	}
	kind, name := "controller", "cht-backup"
	if strings.HasPrefix(c.Check, "Catalog") {
		kind, name = "catalog", r.Catalog
		if name == "" {
			name = "(none)"
		}
		return finding(severity, c.Check, kind, "", name, c.Next, "%s", c.Message), true
	}
	if c.Namespace != "" && c.Namespace != s.System {
		return finding(severity, c.Check, "namespace", "", c.Namespace, c.Next, "%s", c.Message), true
	}
	return finding(severity, c.Check, kind, s.System, name, c.Next, "%s", c.Message), true
}

func rights(s *Seen, _ time.Time) []doctor.Finding {
	if len(s.Denied) == 0 {
		return nil
	}
	where := "in all namespaces"
	if s.Namespace != "" {
		where = "in namespace " + s.Namespace
	}
	return []doctor.Finding{finding(doctor.Information, CheckRights, "you", "", where, "if you are to do that: have the administrator bind the ClusterRole edit there, which the chart adds these rights to", "you may not %s", strings.Join(s.Denied, ", "))}
}

// lateNode is from when a node's Lease, renewed every 10 s, speaks of its clock.
const lateNode, earlyNode = 90 * time.Second, 20 * time.Second

// clocks: of this machine, and of the nodes.
func clocks(s *Seen, now time.Time) (all []doctor.Finding) {
	const next = "have the time set by NTP"
	server := now
	if s.Skew != nil {
		server = now.Add(s.Skew.Ahead)
		if s.Skew.Wrong() {
			all = append(all, finding(doctor.Warning, CheckClock, "this machine", "", "clock", next+", here or on the control plane", "the API server's clock is %s, compared with this machine's: ages that are shown here are wrong by that", *s.Skew))
		}
	}
	for _, name := range sorted(s.Nodes) {
		renewed := s.Nodes[name]
		if renewed.IsZero() || s.Skew == nil {
			continue
		}
		switch late := server.Sub(renewed); {
		case late > lateNode:
			all = append(all, finding(doctor.Problem, CheckClock, "node", "", name, next+" there, and see whether its kubelet reaches the API server", "it is Ready, and renewed its Lease %s ago by its own clock: its clock is behind, or it hangs", duration.HumanDuration(late)))
		case -late > earlyNode:
			all = append(all, finding(doctor.Problem, CheckClock, "node", "", name, next+" there", "its clock is %s ahead of the API server's", duration.HumanDuration(-late)))
		}
	}
	return all
}

func sorted[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
