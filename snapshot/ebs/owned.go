package ebs

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/snapshot/ebs/tags"
)

// A tag can be put on any snapshot by whoever may tag it. A snapshot's description
// and its volume are fixed when it is made. What is deleted must bear all of ours, and
// agree with itself.

// longestDescription that EC2 takes.
const longestDescription = 255

// description of a snapshot of one volume, or of all that one call makes of an
// instance's.
func description(b *api.Backup, attempt, source string) string {
	text := fmt.Sprintf("CHT backup %s, attempt %s, of %s: %s/%s", b.UID, attempt, source, b.Namespace, b.Name)
	return text[:min(len(text), longestDescription)] // names are ASCII
}

var instanceID = regexp.MustCompile(`^i-[0-9a-f]{8,17}$`)

// owned tells whether a snapshot was made for that backup. volumes are those that it
// was to cut.
func owned(s *types.Snapshot, b *api.Backup, volumes []string) bool {
	t := tagsOf(s.Tags)
	if b.UID == "" || t[tags.BackupUID] != string(b.UID) || t[tags.Backup] != b.Name || t[tags.Namespace] != b.Namespace {
		return false
	}
	said, volume := aws.ToString(s.Description), aws.ToString(s.VolumeId)
	if said == description(b, t[tags.Attempt], volume) {
		return slices.Contains(volumes, volume)
	}
	// One call for a whole instance also cuts a volume that was attached to it the
	// moment before. That snapshot is ours, too.
	prefix, _, _ := strings.Cut(description(b, t[tags.Attempt], "|"), "|")
	rest, ours := strings.CutPrefix(said, prefix)
	instance, _, _ := strings.Cut(rest, ":")
	return ours && instanceID.MatchString(instance) && said == description(b, t[tags.Attempt], instance)
}

func tagsOf(list []types.Tag) map[string]string {
	t := make(map[string]string, len(list))
	for _, tag := range list {
		t[aws.ToString(tag.Key)] = aws.ToString(tag.Value)
	}
	return t
}

// tagList is what EC2 takes, in a fixed order.
func tagList(sets ...map[string]string) []types.Tag {
	all := map[string]string{}
	for _, set := range sets {
		for key, value := range set {
			all[key] = value
		}
	}
	list := make([]types.Tag, 0, len(all))
	for key, value := range all {
		list = append(list, types.Tag{Key: aws.String(key), Value: aws.String(value)})
	}
	slices.SortFunc(list, func(a, b types.Tag) int { return strings.Compare(*a.Key, *b.Key) })
	return list
}
