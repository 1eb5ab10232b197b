package after

import (
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
)

const (
	// fresh is how old an answer may be that another backup's question brought.
	fresh = 5 * time.Second
	// batch is how many snapshots are asked about at once.
	batch = 100
)

// looks are the latest answers about snapshots that are being copied. Who asks about
// his asks about all that are under way in that place, so that the number of calls does
// not grow with that of the backups.
type looks struct {
	mutex  sync.Mutex
	places map[Place]*look
}

type look struct {
	mutex sync.Mutex
	at    time.Time
	said  map[string]types.Snapshot
}

func (l *looks) of(p Place) *look {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	if l.places == nil {
		l.places = map[Place]*look{}
	}
	if l.places[p] == nil {
		l.places[p] = &look{}
	}
	return l.places[p]
}

// look tells what EC2 says of snapshots. One that is not there is left out.
func (w *Worker) look(ctx context.Context, p Place, ids []string) (map[string]types.Snapshot, error) {
	l := w.looks.of(p)
	l.mutex.Lock()
	defer l.mutex.Unlock()
	now := w.Now()
	if now.Sub(l.at) < fresh && now.Sub(l.at) >= 0 && hasAll(l.said, ids) {
		return l.said, nil
	}
	what := "look at the copies " + strings.Join(ids, ", ")
	c, err := w.client(ctx, p, "DescribeSnapshots", what)
	if err != nil {
		return nil, err
	}
	all := slices.Clone(ids)
	for _, h := range w.slots.handles(p, batch) {
		if len(all) < batch && !slices.Contains(all, h) {
			all = append(all, h)
		}
	}
	said, err := describe(ctx, c, all)
	if err != nil && asFault(faultOf(err, p, "", "")).kind == gone {
		// One that is gone fails the whole question.
		said, err = describeEach(ctx, c, ids)
	}
	if err != nil {
		return nil, faultOf(err, p, "DescribeSnapshots", what)
	}
	l.at, l.said = now, said
	return said, nil
}

func hasAll(said map[string]types.Snapshot, ids []string) bool {
	for _, id := range ids {
		if _, ok := said[id]; !ok {
			return false
		}
	}
	return true
}

func describe(ctx context.Context, c EC2, ids []string) (map[string]types.Snapshot, error) {
	out, err := c.DescribeSnapshots(ctx, &ec2.DescribeSnapshotsInput{SnapshotIds: ids})
	if err != nil {
		return nil, err
	}
	said := map[string]types.Snapshot{}
	for _, s := range out.Snapshots {
		said[aws.ToString(s.SnapshotId)] = s
	}
	return said, nil
}

func describeEach(ctx context.Context, c EC2, ids []string) (map[string]types.Snapshot, error) {
	said := map[string]types.Snapshot{}
	for _, id := range ids {
		one, err := describe(ctx, c, []string{id})
		if err != nil {
			if code, _, _ := codeOf(err); code == "InvalidSnapshot.NotFound" {
				continue
			}
			return nil, err
		}
		for k, s := range one {
			said[k] = s
		}
	}
	return said, nil
}
