package offsite

import (
	"context"
	"errors"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/snapshot/catalog"
	"github.com/medic/cht-backup/snapshot/catalog/bucket"
	"github.com/medic/cht-backup/snapshot/paged"
	"github.com/medic/cht-backup/snapshot/status"
)

// Sync shows the records of the catalog that are of no backup here as Backups in the
// controller's namespace. Those are made, and removed, by nobody else.
type Sync struct {
	// Place is nil without a catalog: then nothing is shown.
	Place   *Place
	Client  client.Client
	Records catalog.Store // and, by its namespace, where the Backups go
	// Interval between two looks, Newest how many of each namespace are shown.
	Interval time.Duration
	Newest   int
}

// NeedLeaderElection says that one of several controllers does it.
func (s *Sync) NeedLeaderElection() bool { return true }

// Start looks again and again until the context ends.
func (s *Sync) Start(ctx context.Context) error {
	logger := log.FromContext(ctx).WithName("catalog")
	wait.JitterUntilWithContext(ctx, func(ctx context.Context) {
		bounded, cancel := context.WithTimeout(log.IntoContext(ctx, logger), max(s.Interval, time.Minute))
		defer cancel()
		if err := s.Once(bounded); err != nil && ctx.Err() == nil {
			logger.Error(err, "the catalog is not shown as it is now; trying again", "in", s.Interval.String())
		}
	}, max(s.Interval, time.Second), 0.1, true)
	return nil
}

// Once makes what is shown what the catalog has. Nothing that is shown goes unless
// the whole list was seen.
func (s *Sync) Once(ctx context.Context) error {
	shown, local, err := s.survey(ctx)
	if err != nil {
		return err
	}
	want := map[string]bucket.Head{}
	var place *bucket.Bucket
	if s.Place != nil {
		if place, err = s.Place.shared(ctx); err != nil {
			answered(err)
			return err
		}
		n := newest{each: s.Newest, of: map[string][]bucket.Head{}}
		seen, tooMany := 0, false
		ignored, err := place.Heads(ctx, "", func(h bucket.Head) error {
			if seen++; seen > mostHeads {
				tooMany = true
				return fmt.Errorf("catalog %s has more than %d records; give each cluster one of its own", place.URL(), mostHeads)
			}
			if !local[h.UID] {
				n.add(h)
			}
			return nil
		})
		if errors.Is(err, bucket.ErrNoCatalog) {
			err = nil // nothing was ever written
		}
		if !tooMany {
			answered(err)
		}
		if err != nil {
			return err
		}
		if ignored.Count > 0 {
			log.FromContext(ctx).Info(ignored.String(), "catalog", place.URL())
		}
		want = n.chosen(mostShown)
	}
	var failed []error
	for name, h := range want {
		if err := s.show(ctx, place, name, h, shown[name]); err != nil {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			failed = append(failed, err)
		}
	}
	for name, b := range shown {
		h, wanted := want[name]
		if wanted && (b.Status.Imported == nil || b.Status.Imported.Key == h.Key() && b.Status.Imported.Catalog == place.URL()) {
			continue
		}
		err := s.Client.Delete(ctx, b, client.Preconditions{UID: &b.UID, ResourceVersion: &b.ResourceVersion})
		if client.IgnoreNotFound(err) != nil && !apierrors.IsConflict(err) {
			failed = append(failed, fmt.Errorf("remove backup %s/%s, which shows what the catalog no longer has: %w", b.Namespace, b.Name, err))
		}
	}
	if n := len(failed); n > 10 { // one of ten thousand bad manifests is as good as all
		failed = append(failed[:10], fmt.Errorf("and %d more", n-10))
	}
	return errors.Join(failed...)
}

// survey lists what is shown, and whose Backups and records are here.
func (s *Sync) survey(ctx context.Context) (shown map[string]*api.Backup, local here, err error) {
	shown, local = map[string]*api.Backup{}, here{}
	heads, err := s.Records.List(ctx, "")
	if err != nil {
		return nil, nil, err
	}
	for _, h := range heads {
		local[h.UID] = true
	}
	for list, err := range paged.Pages(ctx, s.Client, &api.BackupList{}) {
		if err != nil {
			return nil, nil, fmt.Errorf("list backups: %w", err)
		}
		for i := range list.Items {
			b := &list.Items[i]
			switch {
			case !b.IsImported():
				local[b.UID] = true
			case b.Namespace == s.Records.Namespace:
				shown[b.Name] = b
			}
		}
	}
	return shown, local, nil
}

// show makes one Backup that shows a record, or completes one that was begun.
func (s *Sync) show(ctx context.Context, place *bucket.Bucket, name string, h bucket.Head, there *api.Backup) error {
	if there != nil && there.Status.Imported != nil {
		return nil
	}
	m, err := place.Manifest(ctx, h)
	if err != nil {
		return err
	}
	b := there
	if b == nil {
		b = &api.Backup{ObjectMeta: metav1.ObjectMeta{Namespace: s.Records.Namespace, Name: name, Labels: map[string]string{api.ImportedLabel: "true", api.SourceNamespaceLabel: h.Namespace}}}
		if err := s.Client.Create(ctx, b); err != nil {
			return fmt.Errorf("show record %s of the catalog: %w", h.Key(), err) // also where somebody else has the name
		}
	}
	b.Status = statusOf(place.URL(), m, b.Generation)
	return status.Save(ctx, s.Client, &api.Backup{ObjectMeta: metav1.ObjectMeta{Namespace: b.Namespace, Name: b.Name}}, b.Status)
}

// statusOf is the status of a Backup that shows a record.
func statusOf(url string, m bucket.Manifest, generation int64) api.BackupStatus {
	h := m.Head()
	cut := metav1.NewMicroTime(h.CutTime)
	documents := m.Documents
	s := api.BackupStatus{Phase: api.PhaseCompleted, ObservedGeneration: generation, Consistency: m.Consistency, CutTime: &cut, CompletionTime: &cut,
		Nodes: int32(len(m.Nodes)), Databases: int32(min(m.Databases, 1<<30)), Documents: &documents, //nolint:gosec // bounded
		Imported: &api.ImportedFrom{Catalog: url, Key: h.Key(), Cluster: m.Cluster, Backup: api.BackupReference{Namespace: h.Namespace, Name: h.Name, UID: h.UID}}}
	meta.SetStatusCondition(&s.Conditions, metav1.Condition{Type: api.ConditionReady, Status: metav1.ConditionTrue, Reason: api.ReasonImported, ObservedGeneration: generation,
		Message: status.Clip(fmt.Sprintf("shows backup %s/%s of cluster %s, whose record is in the catalog %s. Restore it with: kubectl cht restore --from CATALOG-URL/%s/%s --to NAMESPACE", h.Namespace, h.Name, m.Cluster, url, h.Namespace, h.Name))})
	return s
}
