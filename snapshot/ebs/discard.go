package ebs

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	k8s "k8s.io/apimachinery/pkg/types"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/snapshot/ebs/tags"
)

const (
	// settle is how long after the last call of a cut that was not answered a snapshot
	// of it may still come to light.
	settle = 15 * time.Second
	// perPage of a look by tags. EC2 looks through this many, whatever it finds.
	perPage = 1000
)

// Discard implements snapshot.Snapshotter. A cut whose calls were all answered is
// known by its ids. Of another one nobody knows what it made, so that is looked for by
// the tags, until nothing more can come to light.
func (s *Snapshotter) Discard(ctx context.Context, b *api.Backup) (left int, err error) {
	regions, certain := map[string]*lookup{}, true
	for i := range b.Status.Volumes {
		v := &b.Status.Volumes[i]
		if v.Method != api.MethodEBS || v.EBS == nil {
			continue
		}
		l := regions[v.EBS.Region]
		if l == nil {
			l = &lookup{backup: b}
			regions[v.EBS.Region] = l
		}
		l.volumes = append(l.volumes, v.EBS.VolumeID)
		if v.Handle != "" {
			l.ids = append(l.ids, v.Handle)
		} else {
			certain = false
		}
	}
	a, known := s.known(b.UID)
	if known && !a.cutting && a.number == b.Status.Attempt {
		regions = nil // no call was made
		certain = true
	}
	for region, l := range regions {
		if l.API, err = s.Cloud.EC2(ctx, region); err != nil {
			return left + 1, fmt.Errorf("EC2 of %s: %w", region, err)
		}
		if !certain {
			err = l.byTags(ctx)
		}
		if err == nil {
			err = l.byIDs(ctx)
		}
		if err != nil {
			return left + 1, fmt.Errorf("look for the snapshots of backup %s/%s in %s: %w", b.Namespace, b.Name, region, err)
		}
		kept, err := l.delete(ctx)
		left += kept
		if err != nil {
			return left, err
		}
		if !certain {
			left += len(l.found) // it is looked again whether they are gone
		}
	}
	if left == 0 && !certain && !s.settled(b) {
		return 1, nil
	}
	if left == 0 {
		s.forget(b.UID)
	}
	return left, nil
}

// settled tells whether all that the cut has made must have come to light.
func (s *Snapshotter) settled(b *api.Backup) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.attempts == nil {
		s.attempts = map[k8s.UID]*attempt{}
	}
	a, now := s.attempts[b.UID], s.clock().Now()
	if a == nil { // of another process, which may have died this very moment
		a = &attempt{number: b.Status.Attempt, cutting: true, over: now}
		s.attempts[b.UID] = a
	}
	return now.Sub(a.over) >= settle
}

// lookup are the snapshots of a backup in one Region.
type lookup struct {
	API
	backup *api.Backup
	// volumes were to be cut.
	volumes []string
	// ids of snapshots that are known.
	ids   []string
	found map[string]types.Snapshot
}

func (l *lookup) note(s types.Snapshot) {
	if l.found == nil {
		l.found = map[string]types.Snapshot{}
	}
	if owned(&s, l.backup, l.volumes) {
		l.found[aws.ToString(s.SnapshotId)] = s
	}
}

func (l *lookup) byTags(ctx context.Context) error {
	return pages(ctx, l, ec2.DescribeSnapshotsInput{OwnerIds: []string{"self"}, MaxResults: aws.Int32(perPage), Filters: []types.Filter{
		{Name: aws.String("tag:" + tags.BackupUID), Values: []string{string(l.backup.UID)}},
	}}, l.note)
}

func (l *lookup) byIDs(ctx context.Context) error {
	var unseen []string
	for _, id := range l.ids {
		if _, seen := l.found[id]; !seen {
			unseen = append(unseen, id)
		}
	}
	if len(unseen) == 0 {
		return nil
	}
	found, err := describe(ctx, l, unseen)
	for _, s := range found {
		l.note(s)
	}
	return err
}

// delete deletes what was found, also what is still being copied, and tells how much
// EC2 will not let go.
func (l *lookup) delete(ctx context.Context) (kept int, err error) {
	var errs []error
	for _, id := range slices.Sorted(maps.Keys(l.found)) {
		_, err := l.DeleteSnapshot(ctx, &ec2.DeleteSnapshotInput{SnapshotId: aws.String(id)})
		if err == nil || missing(err) {
			continue
		}
		kept++
		errs = append(errs, fmt.Errorf("delete snapshot %s of backup %s/%s: %w", id, l.backup.Namespace, l.backup.Name, refused(err)))
	}
	return kept, errors.Join(errs...)
}

// refused says why EC2 does not let go of a snapshot, and what to do.
func refused(err error) error {
	switch c := code(err); c {
	case "":
		return err
	case "InvalidSnapshot.InUse":
		return errors.New("EC2 says " + said(err) + "; something was made of it, such as an image: deregister that")
	default:
		return errors.New("EC2 says " + said(err))
	}
}
