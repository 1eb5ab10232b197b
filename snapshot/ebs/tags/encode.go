package tags

import (
	"fmt"
	"strconv"
	"time"
	"unicode/utf8"
)

// Prefix of all keys of ours.
const Prefix = "communityhealthtoolkit.org/"

// Keys of the tags, without a snapshot's Name. The first ones are the same on all
// snapshots of a set.
const (
	BackupUID = Prefix + "backup-uid"
	Backup    = Prefix + "backup"
	Namespace = Prefix + "namespace"
	Cluster   = Prefix + "cluster"
	// Instance is the cluster and the namespace, for cost allocation.
	Instance = Prefix + "instance"
	// CutTime is when the call that cut the set began: RFC 3339 in UTC.
	CutTime = Prefix + "cut-time"
	SetSize = Prefix + "set-size"
	Attempt = Prefix + "attempt"
	// Complete is "true" once it is known that the set is a good one. Without it on
	// every member it is not to be restored.
	Complete = Prefix + "complete"
	// Copy names, on a copy, which of the backup's copies it is of.
	Copy = Prefix + "copy"

	Node = Prefix + "node"
	// NodeName is CouchDB's own name of the node.
	NodeName = Prefix + "node-name"
	Claim    = Prefix + "claim"
	// DataSubPath is where CouchDB's data lies on the volume, "" for its root.
	DataSubPath = Prefix + "data-subpath"
	// ConfigSubPath is where local.d lies; the tag is absent where it is not there.
	ConfigSubPath = Prefix + "config-subpath"
	FSType        = Prefix + "fs-type"
	Partition     = Prefix + "partition"

	// Name is what consoles show.
	Name = "Name"
)

// timeFormat keeps the microseconds, also when they are 0.
const timeFormat = "2006-01-02T15:04:05.000000Z"

// longest value that EC2 takes, in characters.
const longest = 255

// Common is what all members of a set have in common.
type Common struct {
	UID, Backup, Namespace, Cluster string
	// CutTime with microseconds.
	CutTime time.Time
	// Size is the number of members.
	Size    int
	Attempt int32
	// Copy is the copy's name, "" for the snapshots that were cut.
	Copy string
}

// Member is one CouchDB node's volume.
type Member struct {
	// Node is the value of cht.service, NodeName CouchDB's own name, "" if not known.
	Node, NodeName, Claim string
	DataSubPath           string
	ConfigSubPath         string
	ConfigOnVolume        bool
	FSType, Partition     string
}

// Encode gives the tags that all members bear. Complete is not among them.
func (c Common) Encode() map[string]string {
	t := map[string]string{
		BackupUID: c.UID, Backup: c.Backup, Namespace: c.Namespace, Cluster: c.Cluster, Instance: c.Cluster + "/" + c.Namespace,
		CutTime: c.CutTime.UTC().Format(timeFormat), SetSize: strconv.Itoa(c.Size), Attempt: fmt.Sprint(c.Attempt),
	}
	if c.Copy != "" {
		t[Copy] = c.Copy
	}
	return cut(t)
}

// Encode gives the tags of one member, beside those of its set. A value that EC2 has
// no room for is left out, and missed when the set is put together.
func (m Member) Encode() map[string]string {
	t := map[string]string{Node: m.Node, Claim: m.Claim, DataSubPath: m.DataSubPath}
	for key, value := range map[string]string{NodeName: m.NodeName, FSType: m.FSType, Partition: m.Partition} {
		if value != "" {
			t[key] = value
		}
	}
	if m.ConfigOnVolume {
		t[ConfigSubPath] = m.ConfigSubPath
	}
	return cut(t)
}

func cut(t map[string]string) map[string]string {
	for key, value := range t {
		if utf8.RuneCountInString(value) > longest {
			delete(t, key)
		}
	}
	return t
}
