package checkup

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	snapv1 "github.com/kubernetes-csi/external-snapshotter/client/v8/apis/volumesnapshot/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/snapshot/paged"
)

// Looker looks, with the controller's own rights.
type Looker struct {
	// Client asks the API server, no cache. Config is where it is.
	Client client.Client
	Config *rest.Config
	// Version of the controller, Image of its pods.
	Version, Image string
	// Namespace and Name are where the report is published.
	Namespace, Name string
	// Namespaces that are served; none for all.
	Namespaces []string
	// Narrow: it has rights in those alone, and makes and deletes no namespaces.
	Narrow bool
	// Serves tells whether it works on a namespace, and if not, why; nil is on all.
	Serves func(ctx context.Context, namespace string) (ok bool, why string, err error)
	// Catalog is nil for none. Recipients is to how many keys Secrets are sealed.
	Catalog    Catalog
	Recipients int
	// Cluster gives the name of the cluster.
	Cluster func(context.Context) (string, error)
	Now     func() time.Time

	tried lastTry
	said  string
}

// mostNamespaces are looked at one by one.
const mostNamespaces = 200

// Look looks once. It fails for nothing: what cannot be found out is in the report.
func (l *Looker) Look(ctx context.Context) Report {
	r := Report{Format: Format, Version: l.Version, Namespaces: l.Namespaces}
	if l.Catalog != nil {
		r.Catalog = l.Catalog.Shown()
	}
	r.Checks = append(r.Checks, l.rights(ctx)...)
	r.Checks = append(r.Checks, l.snapshots(ctx)...)
	r.Checks = append(r.Checks, l.clock(ctx))
	r.Checks = append(r.Checks, l.catalog(ctx)...)
	namespaces, more := l.instances(ctx)
	r.Checks = append(r.Checks, more...)
	for _, n := range namespaces {
		r.Checks = append(r.Checks, freezer(ctx, l.Client, n, l.Image))
	}
	r.Time = l.Now().UTC().Truncate(time.Second)
	return r
}

// rights: where all namespaces are served, those in all at once.
func (l *Looker) rights(ctx context.Context) []Check {
	a := &access{client: l.Client, narrow: l.Narrow}
	if len(l.Namespaces) == 0 {
		return []Check{a.check(ctx, "", needs)}
	}
	checks := []Check{a.check(ctx, "", in(needs, cluster))}
	for i, n := range l.Namespaces {
		if i == mostNamespaces {
			break // instances says so
		}
		checks = append(checks, a.check(ctx, n, in(needs, served)))
	}
	if !slices.Contains(l.Namespaces, l.Namespace) {
		checks = append(checks, a.check(ctx, l.Namespace, own))
	}
	return checks
}

// instances gives the namespaces to look at one by one: those of the setting, or
// those with a schedule.
func (l *Looker) instances(ctx context.Context) (namespaces []string, checks []Check) {
	namespaces = slices.Clone(l.Namespaces)
	for _, n := range l.Namespaces {
		var namespace corev1.Namespace
		if err := l.Client.Get(ctx, client.ObjectKey{Name: n}, &namespace); apierrors.IsNotFound(err) {
			checks = append(checks, fail(NamespaceServed, n, "create it, or take it out of the setting namespaces", "the controller is to serve namespace %s, which does not exist", n))
			namespaces = slices.DeleteFunc(namespaces, func(other string) bool { return other == n })
			continue
		}
		if l.Serves == nil {
			continue
		}
		if ok, why, err := l.Serves(ctx, n); err == nil && !ok {
			checks = append(checks, fail(NamespaceServed, n, "see who holds it: kubectl get lease cht-backup-serves -n "+n, "the controller is to serve namespace %s and does not: %s", n, why))
		}
	}
	if len(l.Namespaces) == 0 {
		for list, err := range paged.Pages(ctx, l.Client, &api.BackupScheduleList{}) {
			if err != nil {
				return nil, []Check{unknown(FreezerAdmitted, "", "see the log of the controller", fmt.Errorf("list the schedules of all namespaces: %w", err))}
			}
			for i := range list.Items {
				namespaces = append(namespaces, list.Items[i].Namespace)
			}
		}
	}
	slices.Sort(namespaces)
	namespaces = slices.Compact(namespaces)
	if left := len(namespaces) - mostNamespaces; left > 0 {
		checks = append(checks, unknown(FreezerAdmitted, "", "kubectl cht doctor -n NAMESPACE looks at one", fmt.Errorf("%d more namespaces are not looked at one by one", left)))
		namespaces = namespaces[:mostNamespaces]
	}
	return namespaces, checks
}

// defaultClass marks the class that a driver's snapshots take when none is named.
const defaultClass = "snapshot.storage.kubernetes.io/is-default-class"

func (l *Looker) snapshots(ctx context.Context) []Check {
	const kindsNext = "install the CRDs and the controller of https://github.com/kubernetes-csi/external-snapshotter, then restart this controller; EBS volumes can be cut without"
	var list snapv1.VolumeSnapshotClassList
	err := paged.All(ctx, l.Client, &list)
	switch {
	case (meta.IsNoMatchError(err) || apierrors.IsNotFound(err)) && l.Catalog != nil:
		return []Check{pass(SnapshotKinds, "", "the cluster does not know VolumeSnapshots: the files of CouchDB's volumes are copied into the catalog")}
	case meta.IsNoMatchError(err), apierrors.IsNotFound(err):
		return []Check{fail(SnapshotKinds, "", kindsNext, "the cluster does not know VolumeSnapshots: no CSI volume can be backed up")}
	case err != nil:
		return []Check{unknown(SnapshotKinds, "", "", err)}
	}
	return []Check{pass(SnapshotKinds, "", "the cluster knows VolumeSnapshots"), classes(list.Items, l.Catalog != nil)}
}

// classes tells for which drivers it is clear what is taken.
func classes(all []snapv1.VolumeSnapshotClass, catalog bool) Check {
	of, chosen := map[string][]string{}, map[string]int{}
	for _, c := range all {
		of[c.Driver] = append(of[c.Driver], c.Name)
		if c.Annotations[defaultClass] == "true" {
			chosen[c.Driver]++
		}
	}
	var plain, open []string
	for driver, names := range of {
		slices.Sort(names)
		switch {
		case chosen[driver] == 1 || len(names) == 1:
			plain = append(plain, driver)
		default:
			open = append(open, fmt.Sprintf("%s has %s, of which %d are marked as default", driver, strings.Join(names, ", "), chosen[driver]))
		}
	}
	slices.Sort(plain)
	slices.Sort(open)
	switch {
	case len(all) == 0 && catalog:
		return pass(SnapshotClasses, "", "there is no VolumeSnapshotClass: the files of CouchDB's volumes are copied into the catalog, but for EBS volumes")
	case len(all) == 0:
		return fail(SnapshotClasses, "", "create a VolumeSnapshotClass for the driver of your volumes, see its documentation; EBS volumes can be cut without", "there is no VolumeSnapshotClass at all")
	case len(open) > 0:
		return fail(SnapshotClasses, "", "mark one class of the driver with "+defaultClass+`: "true", and no other, or set spec.volumeSnapshotClassName`, "which VolumeSnapshotClass is taken is not clear: %s", strings.Join(open, "; "))
	}
	return pass(SnapshotClasses, "", "there are VolumeSnapshotClasses for %s", strings.Join(plain, ", "))
}

func (l *Looker) clock(ctx context.Context) Check {
	ctx, cancel := context.WithTimeout(ctx, answerWithin)
	defer cancel()
	skew, err := APIServerSkew(ctx, l.Config, l.Now)
	switch {
	case err != nil:
		return unknown(Clock, "", "", err)
	case skew.Wrong():
		return fail(Clock, "", "have the time set by NTP on the nodes and the control plane", "the API server's clock is %s, compared with the controller's: schedules run at the wrong time", skew)
	}
	return pass(Clock, "", "the clocks of controller and API server agree")
}
