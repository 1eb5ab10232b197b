package readiness

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	snapv1 "github.com/kubernetes-csi/external-snapshotter/client/v8/apis/volumesnapshot/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/cmd/kubectl-cht/internal/doctor"
	"github.com/medic/cht-backup/cmd/kubectl-cht/internal/status"
	"github.com/medic/cht-backup/snapshot/checkup"
	"github.com/medic/cht-backup/snapshot/paged"
)

const (
	// nodeLeases is where the kubelets renew theirs.
	nodeLeases = "kube-node-lease"
	// snapshotLease is the snapshot-controller's.
	snapshotLease = "snapshot-controller-leader"
	// crdVersion is the annotation of the CRDs that says of which version they are.
	crdVersion = "backup.communityhealthtoolkit.org/crd-version"
)

// Looked is what the caller has at hand.
type Looked struct {
	doctor.Cluster
	Version string
	// Status of the instances, or why it is not known.
	Status    *status.Report
	StatusErr error
	// Clock asks the API server for its time; nil where nobody can.
	Clock func(context.Context) (checkup.Skew, error)
}

// Look sees the rest, with the user's rights. What he may not see is noted in Unseen,
// and so is whatever else fails: it must not hide what was found.
func Look(ctx context.Context, c client.Client, had Looked) Seen {
	s := Seen{Cluster: had.Cluster, Version: had.Version, Status: had.Status, Serves: map[string]coordinationv1.Lease{}, Drivers: map[string][]string{}, Nodes: map[string]time.Time{}}
	s.note(kindStatus, had.StatusErr)
	s.note(kindReports, s.lookAtReports(ctx, c))
	s.note(kindSchedules, s.lookAtSchedules(ctx, c))
	s.note(kindCRDs, s.lookAtCRDs(ctx, c))
	s.note(kindClasses, s.lookAtClasses(ctx, c))
	s.note(kindCSINodes, s.lookAtDrivers(ctx, c))
	s.note(kindNodes, s.lookAtNodes(ctx, c))
	s.note(kindRights, s.lookAtRights(ctx, c))
	if had.Clock != nil {
		skew, err := had.Clock(ctx)
		if s.note(kindClock, err); err == nil {
			s.Skew = &skew
		}
	}
	s.lookAtPlaces(ctx, c)
	for _, namespace := range s.asked() {
		s.note(kindServes, s.lookAtServes(ctx, c, namespace))
	}
	return s
}

// note keeps why something could not be looked at.
func (s *Seen) note(kind string, err error) {
	switch {
	case err == nil:
	case apierrors.IsForbidden(err):
		s.Unseen[kind] = "you may not look at them"
	case meta.IsNoMatchError(err):
		s.Unseen[kind] = "this cluster does not know them"
	default:
		s.Unseen[kind] = err.Error()
	}
}

func (s *Seen) lookAtReports(ctx context.Context, c client.Client) error {
	var list corev1.ConfigMapList
	if err := c.List(ctx, &list, client.InNamespace(s.System), client.MatchingLabels{checkup.Label: "true"}, client.Limit(paged.Size)); err != nil {
		return err
	}
	for i := range list.Items {
		if r, err := checkup.Read(&list.Items[i]); err != nil {
			s.Unread = append(s.Unread, err.Error())
		} else {
			s.Reports = append(s.Reports, r)
		}
	}
	return nil
}

func (s *Seen) lookAtSchedules(ctx context.Context, c client.Client) error {
	return paged.Each(ctx, c, &api.BackupScheduleList{}, func(l *api.BackupScheduleList) {
		for i := range l.Items {
			if !l.Items[i].Spec.Suspend {
				s.Schedules = append(s.Schedules, l.Items[i])
			}
		}
	}, client.InNamespace(s.Namespace))
}

// lookAtCRDs keeps the oldest of the versions.
func (s *Seen) lookAtCRDs(ctx context.Context, c client.Client) error {
	for _, plural := range []string{"backups", "backupschedules", "restores"} {
		var crd metav1.PartialObjectMetadata
		crd.SetGroupVersionKind(schema.GroupVersionKind{Group: "apiextensions.k8s.io", Version: "v1", Kind: "CustomResourceDefinition"})
		if err := c.Get(ctx, client.ObjectKey{Name: plural + "." + api.GroupVersion.Group}, &crd); err != nil {
			return err
		}
		if v := crd.Annotations[crdVersion]; v != "" && (s.CRDVersion == "" || differ(v, s.CRDVersion) < 0) {
			s.CRDVersion = v
		}
	}
	return nil
}

func (s *Seen) lookAtClasses(ctx context.Context, c client.Client) error {
	err := paged.Each(ctx, c, &snapv1.VolumeSnapshotClassList{}, func(l *snapv1.VolumeSnapshotClassList) {
		s.Classes = append(s.Classes, l.Items...)
	})
	if meta.IsNoMatchError(err) || apierrors.IsNotFound(err) {
		return nil // what needs them says so
	}
	s.SnapshotKinds = err == nil
	var lease coordinationv1.Lease
	if s.SnapshotKinds && c.Get(ctx, client.ObjectKey{Namespace: metav1.NamespaceSystem, Name: snapshotLease}, &lease) == nil {
		s.SnapshotLease = &lease
	}
	return err
}

func (s *Seen) lookAtDrivers(ctx context.Context, c client.Client) error {
	return paged.Each(ctx, c, &storagev1.CSINodeList{}, func(l *storagev1.CSINodeList) {
		for _, n := range l.Items {
			s.Drivers[n.Name] = []string{}
			for _, d := range n.Spec.Drivers {
				s.Drivers[n.Name] = append(s.Drivers[n.Name], d.Name)
			}
		}
	})
}

func (s *Seen) lookAtNodes(ctx context.Context, c client.Client) error {
	ready := map[string]bool{}
	if err := paged.Each(ctx, c, &corev1.NodeList{}, func(l *corev1.NodeList) {
		for _, n := range l.Items {
			ready[n.Name] = slices.ContainsFunc(n.Status.Conditions, func(c corev1.NodeCondition) bool {
				return c.Type == corev1.NodeReady && c.Status == corev1.ConditionTrue
			})
		}
	}); err != nil {
		return err
	}
	return paged.Each(ctx, c, &coordinationv1.LeaseList{}, func(l *coordinationv1.LeaseList) {
		for _, lease := range l.Items {
			if ready[lease.Name] && lease.Spec.RenewTime != nil {
				s.Nodes[lease.Name] = lease.Spec.RenewTime.Time
			}
		}
	}, client.InNamespace(nodeLeases))
}

// lookAtServes: that there is no Lease is what a controller without a list leaves.
func (s *Seen) lookAtServes(ctx context.Context, c client.Client, namespace string) error {
	var lease coordinationv1.Lease
	err := c.Get(ctx, client.ObjectKey{Namespace: namespace, Name: ServesLease}, &lease)
	if err == nil {
		s.Serves[namespace] = lease
	}
	return client.IgnoreNotFound(err)
}

var errUnseen = errors.New("you may not see all of it")

func missing(what string) error { return fmt.Errorf("%w: %s", errUnseen, what) }
