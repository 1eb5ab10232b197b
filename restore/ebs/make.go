package ebs

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/smithy-go"
	k8s "k8s.io/apimachinery/pkg/types"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/snapshot/reason"
)

// answered bounds one call to EC2. It is not cut short when the restore is aborted:
// an answer that nobody hears is a volume that nobody knows.
const answered = time.Minute

// Found are a Restore's volumes as EC2 has them, by node.
func Found(ctx context.Context, c EC2, restore k8s.UID) (map[string]types.Volume, error) {
	found := map[string]types.Volume{}
	pages := ec2.NewDescribeVolumesPaginator(c, &ec2.DescribeVolumesInput{Filters: []types.Filter{{Name: new("tag:" + restoreTag), Values: []string{string(restore)}}}})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, fmt.Errorf("look for the volumes of restore %s: %w", restore, err)
		}
		for _, v := range page.Volumes {
			node := tag(v.Tags, nodeTag)
			// Filters take wildcards, and no answer is believed more than it says.
			if tag(v.Tags, restoreTag) != string(restore) || node == "" || v.VolumeId == nil || gone(v.State) {
				continue
			}
			found[node] = v
		}
	}
	return found, nil
}

func gone(s types.VolumeState) bool {
	return s == types.VolumeStateDeleting || s == types.VolumeStateDeleted
}

func tag(tags []types.Tag, key string) string {
	for _, t := range tags {
		if t.Key != nil && t.Value != nil && *t.Key == key {
			return *t.Value
		}
	}
	return ""
}

// Make makes the volumes that are not there yet, all at once, and gives the id of
// each by node. known are ids that were noted before.
func Make(ctx context.Context, c EC2, orders []Order, known map[string]string) (map[string]string, error) {
	ids := map[string]string{}
	if len(orders) == 0 {
		return ids, nil
	}
	// A volume that was made but not noted: the controller was killed in between. The
	// token would find it too, but not for ever, and not everywhere.
	found, err := Found(ctx, c, orders[0].Restore.UID)
	if err != nil {
		return nil, err
	}
	var mu sync.Mutex
	var wg sync.WaitGroup
	var failed []error
	for _, o := range orders {
		if v, ok := found[o.Node.Service]; ok {
			ids[o.Node.Service] = *v.VolumeId
			continue
		}
		if id := known[o.Node.Service]; id != "" {
			ids[o.Node.Service] = id // EC2 does not list everything at once; whether it is there, Available asks
			continue
		}
		wg.Go(func() {
			id, err := makeOne(ctx, c, o)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				failed = append(failed, err)
				return
			}
			ids[o.Node.Service] = id
		})
	}
	wg.Wait()
	return ids, errors.Join(failed...)
}

func makeOne(ctx context.Context, c EC2, o Order) (string, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), answered)
	defer cancel()
	out, err := c.CreateVolume(ctx, o.input())
	if err != nil {
		return "", refusal(fmt.Errorf("%s: make a volume of snapshot %s in %s: %w", o.Node.Service, o.Snapshot, o.Zone, err))
	}
	if out.VolumeId == nil {
		return "", fmt.Errorf("%s: EC2 made a volume of snapshot %s without saying which", o.Node.Service, o.Snapshot)
	}
	return *out.VolumeId, nil
}

// Available tells what of the volumes has to be waited for, "" when nothing. One that
// EC2 gave up is an error. settled are the nodes whose volume must be listed by now;
// those that are, it adds.
func Available(ctx context.Context, c EC2, orders []Order, ids map[string]string, settled map[string]bool) (waitingFor string, err error) {
	if len(orders) == 0 {
		return "", nil
	}
	found, err := Found(ctx, c, orders[0].Restore.UID)
	if err != nil {
		return "", err
	}
	var waiting []string
	for _, o := range orders {
		v, ok := found[o.Node.Service]
		if ok {
			settled[o.Node.Service] = true
		}
		switch {
		case !ok && settled[o.Node.Service]:
			return "", reason.Refuse(api.ReasonVolumeFailed, "%s: volume %s, made of snapshot %s, is gone again%s", o.Node.Service, ids[o.Node.Service], o.Snapshot, keyHint(o))
		case !ok: // what was just made is not always listed at once
			waiting = append(waiting, fmt.Sprintf("%s (%s), which EC2 does not list yet", ids[o.Node.Service], o.Node.Service))
		case v.State == types.VolumeStateError:
			return "", reason.Refuse(api.ReasonVolumeFailed, "%s: EC2 could not make volume %s of snapshot %s%s", o.Node.Service, *v.VolumeId, o.Snapshot, keyHint(o))
		case v.State == types.VolumeStateCreating:
			waiting = append(waiting, fmt.Sprintf("%s (%s), which is being made", *v.VolumeId, o.Node.Service))
		}
	}
	if len(waiting) == 0 {
		return "", nil
	}
	return "volume " + strings.Join(waiting, ", "), nil
}

func keyHint(o Order) string {
	key := ""
	if asked := o.Restore.Spec.EBS; asked != nil {
		key = asked.KMSKeyID
	}
	if key == "" && o.Node.EBS != nil && o.Node.EBS.Encrypted {
		key = o.Node.EBS.KMSKeyID
	}
	if key == "" {
		return ""
	}
	return fmt.Sprintf(": with a KMS key that the controller's role may not use (%s) EC2 takes the volume away again; allow kms:CreateGrant, Decrypt, DescribeKey, GenerateDataKeyWithoutPlaintext and ReEncrypt on it", key)
}

// Drop deletes the volumes of a Restore on these nodes that no PersistentVolume has,
// and tells which are not gone yet. kept are the ids that one has: their driver
// deletes them with it.
func Drop(ctx context.Context, c EC2, restore k8s.UID, nodes []string, kept func(id string) bool) (waitingFor string, err error) {
	found, err := Found(ctx, c, restore)
	if err != nil {
		return "", err
	}
	var waiting []string
	for node, v := range found {
		id := *v.VolumeId
		if !slices.Contains(nodes, node) || kept(id) {
			continue
		}
		if v.State == types.VolumeStateInUse {
			waiting = append(waiting, fmt.Sprintf("%s of %s to be detached", id, node))
			continue
		}
		_, err := c.DeleteVolume(ctx, &ec2.DeleteVolumeInput{VolumeId: &id})
		switch code := Code(err); {
		case err == nil || code == "InvalidVolume.NotFound":
		case code == "VolumeInUse" || code == "IncorrectState":
			waiting = append(waiting, fmt.Sprintf("%s of %s (%s)", id, node, code))
		default:
			return "", fmt.Errorf("delete volume %s of %s, which restore %s made: %w", id, node, restore, err)
		}
	}
	slices.Sort(waiting)
	if len(waiting) == 0 {
		return "", nil
	}
	return "volume " + strings.Join(waiting, ", "), nil
}

// Code is what EC2 calls an error, "" for any other.
func Code(err error) string {
	var e smithy.APIError
	if errors.As(err, &e) {
		return e.ErrorCode()
	}
	return ""
}

// Errors of EC2 that trying again does not mend.
var (
	denied  = []string{"UnauthorizedOperation", "AccessDenied", "AuthFailure", "InvalidClientTokenId", "SignatureDoesNotMatch", "ExpiredToken", "OptInRequired"}
	missing = []string{"InvalidSnapshot.NotFound", "InvalidSnapshotID.Malformed"}
	invalid = []string{"InvalidParameterValue", "InvalidParameterCombination", "InvalidParameter", "InvalidZone.NotFound", "UnknownVolumeType", "UnsupportedOperation", "MissingParameter",
		"VolumeLimitExceeded", "MaxIOPSLimitExceeded", "VolumeTypeNotAvailableInZone", "IdempotentParameterMismatch", "IncorrectState"}
)

// refusal gives an error of EC2 the reason that ends a restore, where trying again
// does not help.
func refusal(err error) error {
	code := Code(err)
	switch {
	case slices.Contains(denied, code):
		return reason.Refuse(api.ReasonAccessDenied, "%w; allow the controller's role what the chart's files/iam/restore.json lists", err)
	case slices.Contains(missing, code):
		return reason.Refuse(api.ReasonSnapshotMissing, "%w", err)
	case slices.Contains(invalid, code):
		return reason.Refuse(api.ReasonVolumeFailed, "%w", err)
	}
	return err
}
