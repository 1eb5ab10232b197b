package after

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/snapshot/ebs/tags"
)

// descriptionOf is a copy's description. Anybody who may tag can write our tags on a
// snapshot of his own, and a copy made by hand may take them over; a description is
// fixed when a snapshot is made. Both together make a copy ours.
func descriptionOf(b *api.Backup, copyName, node string) string {
	return fmt.Sprintf("cht-backup copy %s of %s, backup %s", copyName, node, b.UID)
}

// ownCopy is a snapshot that is provably a copy of a backup.
type ownCopy struct {
	types.Snapshot
	node string
}

// ours tells whether a snapshot is a copy of the backup, for that name.
func ours(b *api.Backup, copyName string, s types.Snapshot) (node string, ok bool) {
	t := map[string]string{}
	for _, tag := range s.Tags {
		t[aws.ToString(tag.Key)] = aws.ToString(tag.Value)
	}
	node = t[tags.Node]
	return node, b.UID != "" && node != "" && t[tags.BackupUID] == string(b.UID) && t[tags.Copy] == copyName && aws.ToString(s.Description) == descriptionOf(b, copyName, node)
}

// copiesThere finds a backup's copies of one name by their tags, the oldest first.
func (w *Worker) copiesThere(ctx context.Context, p Place, c api.EBSCopy, b *api.Backup) ([]ownCopy, error) {
	what := "look for copies of backup " + string(b.UID)
	client, err := w.client(ctx, p, "DescribeSnapshots", what)
	if err != nil {
		return nil, err
	}
	in := &ec2.DescribeSnapshotsInput{OwnerIds: []string{"self"}, MaxResults: aws.Int32(1000), Filters: []types.Filter{
		{Name: aws.String("tag:" + tags.BackupUID), Values: []string{string(b.UID)}}, {Name: aws.String("tag:" + tags.Copy), Values: []string{c.Name}}}}
	var found []ownCopy
	for {
		out, err := client.DescribeSnapshots(ctx, in)
		if err != nil {
			return nil, faultOf(err, p, "DescribeSnapshots", what)
		}
		for _, s := range out.Snapshots {
			if node, ok := ours(b, c.Name, s); ok {
				found = append(found, ownCopy{s, node})
			}
		}
		if in.NextToken = out.NextToken; aws.ToString(in.NextToken) == "" {
			break
		}
	}
	slices.SortStableFunc(found, func(x, y ownCopy) int { return aws.ToTime(x.StartTime).Compare(aws.ToTime(y.StartTime)) })
	return found, nil
}

// tagsFor are a copy's tags: all of the original, which are read once for all copies,
// with what we know ourselves put right.
func (j *job) tagsFor(ctx context.Context, c api.EBSCopy, o snapshot) ([]types.Tag, error) {
	if _, known := j.tags[o.handle]; !known {
		all := originals(j.b)
		what := "read the tags of " + strings.Join(handles(all), ", ")
		places, grouped := byPlace(all)
		for _, p := range places {
			client, err := j.client(ctx, p, "DescribeSnapshots", what)
			if err != nil {
				return nil, err
			}
			said, err := describe(ctx, client, handles(grouped[p]))
			if err != nil {
				return nil, faultOf(err, p, "DescribeSnapshots", what)
			}
			for id, s := range said {
				j.tags[id] = s.Tags
			}
		}
	}
	return copyTags(j.b, c.Name, o.node, j.tags[o.handle]), nil
}

// copyTags makes a copy's tags out of the original's.
func copyTags(b *api.Backup, copyName, node string, original []types.Tag) []types.Tag {
	t := map[string]string{}
	for _, tag := range original {
		if key := aws.ToString(tag.Key); !strings.HasPrefix(key, "aws:") {
			t[key] = aws.ToString(tag.Value)
		}
	}
	maps.Copy(t, b.Spec.EBS.Tags)
	maps.Copy(t, map[string]string{tags.BackupUID: string(b.UID), tags.Backup: b.Name, tags.Namespace: b.Namespace, tags.SetSize: strconv.Itoa(int(b.Status.Nodes)),
		tags.Node: node, tags.Copy: copyName, tags.Complete: "true"})
	var all []types.Tag
	for _, key := range slices.Sorted(maps.Keys(t)) {
		all = append(all, types.Tag{Key: aws.String(key), Value: aws.String(t[key])})
	}
	return all
}
