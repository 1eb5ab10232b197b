package csi

import (
	"fmt"
	"regexp"
	"strings"

	snapv1 "github.com/kubernetes-csi/external-snapshotter/client/v8/apis/volumesnapshot/v1"
	"k8s.io/apimachinery/pkg/types"

	api "github.com/medic/cht-backup/api/v1alpha1"
)

// A label can be put on anything by anybody. What is deleted, and with it the
// storage's snapshot, must also bear the name that only this backup's objects have,
// and point where they point.

// Owned tells whether a content was made for a VolumeSnapshot of the backup of that
// name and UID. It needs no label, which a content that nobody has seen yet lacks.
func Owned(content *snapv1.VolumeSnapshotContent, namespace, name string, uid types.UID) bool {
	ref := content.Spec.VolumeSnapshotRef
	if label, set := content.Labels[api.BackupUIDLabel]; set && label != string(uid) {
		return false
	}
	// A content that somebody made by hand has another name, or is not bound.
	return ref.UID != "" && content.Name == contentPrefix+string(ref.UID) && ref.Namespace == namespace && named(ref.Name, name, uid)
}

// OwnedSnapshot is Owned for a VolumeSnapshot, which bears our label from its birth.
func OwnedSnapshot(s *snapv1.VolumeSnapshot, namespace, name string, uid types.UID) bool {
	return uid != "" && s.Labels[api.BackupUIDLabel] == string(uid) && s.Namespace == namespace && named(s.Name, name, uid)
}

// Suffixed tells whether a VolumeSnapshot of that name may be of a backup with that
// UID whose name is not known.
func Suffixed(snapshot string, uid types.UID) bool {
	_, rest, found := strings.Cut(snapshot, fmt.Sprintf("-%.8s-", uid))
	return uid != "" && found && cutSuffix.MatchString(rest)
}

// snapshotName names the snapshot of a node in an attempt; named knows it again.
func snapshotName(backup string, uid types.UID, attempt int32, node string) string {
	return fmt.Sprintf("%s%d-%s", namePrefix(backup, uid), attempt, node)
}

func named(snapshot, backup string, uid types.UID) bool {
	rest, ours := strings.CutPrefix(snapshot, namePrefix(backup, uid))
	return ours && uid != "" && cutSuffix.MatchString(rest)
}

func namePrefix(backup string, uid types.UID) string { return fmt.Sprintf("%s-%.8s-", backup, uid) }

// cutSuffix is the attempt and the node.
var cutSuffix = regexp.MustCompile(`^[0-9]+-couchdb(-[0-9]+)?$`)

// contentName is how the snapshot controller names the content of a snapshot.
func contentName(s *snapv1.VolumeSnapshot) string { return contentPrefix + string(s.UID) }

const contentPrefix = "snapcontent-"
