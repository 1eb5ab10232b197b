package file

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/log"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/snapshot/reason"
)

// Discard implements snapshot.Snapshotter: it stops the copying, and deletes the trees
// of the backup. What of them no other tree names is collected later. What a backup that
// was never complete has left is not waited for where the bucket does not answer: no
// record names it, and whoever looks after the repository finds it.
func (s *Snapshotter) Discard(ctx context.Context, b *api.Backup) (left int, err error) {
	if left := s.halt(b); left > 0 {
		return left, nil
	}
	nodes := map[string][]string{} // by repository
	for _, v := range b.Status.Volumes {
		if v.File != nil {
			nodes[v.File.Repository] = append(nodes[v.File.Repository], v.Node)
		}
	}
	for _, id := range slices.Sorted(maps.Keys(nodes)) {
		err := s.deleteTrees(ctx, b, id, nodes[id])
		switch {
		case err == nil:
		case b.Status.Phase != api.PhaseCompleted, reason.Of(err) != nil, errors.Is(err, ErrKept):
			log.FromContext(ctx).Info("what the backup has in a repository is left there", "repository", id, "error", err.Error())
		default:
			return left, err
		}
	}
	return left, nil
}

// haltWithin is how long the end of a copying is waited for at once.
const haltWithin = 5 * time.Second

// halt stops the copying of a backup's volumes, or of all of it where none are known,
// and tells how much has not ended yet.
func (s *Snapshotter) halt(b *api.Backup) (left int) {
	stopping := map[volume]*job{}
	s.mu.Lock()
	for key, j := range s.jobs {
		if key.backup != b.UID || len(b.Status.Volumes) > 0 && !slices.ContainsFunc(b.Status.Volumes, func(v api.VolumeStatus) bool { return v.Node == key.service }) {
			continue
		}
		if j.over == nil { // it was not started
			for _, p := range j.parts {
				p.copier.Close()
			}
			delete(s.jobs, key)
			continue
		}
		j.stop()
		stopping[key] = j
	}
	s.mu.Unlock()
	late := time.After(haltWithin)
	for key, j := range stopping {
		select {
		case <-j.over:
			s.mu.Lock()
			delete(s.jobs, key)
			s.mu.Unlock()
		case <-late:
			return len(stopping)
		}
	}
	return 0
}

func (s *Snapshotter) deleteTrees(ctx context.Context, b *api.Backup, id string, nodes []string) error {
	r, err := s.Repositories.Open(ctx, id)
	if err != nil {
		return fmt.Errorf("repository %s: %w", id, err)
	}
	trees, err := r.Trees(ctx)
	if err != nil {
		return fmt.Errorf("repository %s: %w", id, err)
	}
	var errs []error
	for _, t := range trees {
		if t.Owner != string(b.UID) || !slices.Contains(nodes, t.Node) {
			continue
		}
		if err := r.DeleteTree(ctx, t.Name); err != nil {
			errs = append(errs, fmt.Errorf("repository %s: delete tree %s: %w", id, t.Name, err))
		} else if s.Deleted != nil {
			s.Deleted(id)
		}
	}
	return errors.Join(errs...)
}
