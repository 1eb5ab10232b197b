package offsite

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/types"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/snapshot/catalog"
	"github.com/medic/cht-backup/snapshot/cht"
	"github.com/medic/cht-backup/snapshot/ebs/tags"
)

// OfSets gives the sets of one Region as entries, with what their tags tell of each,
// and the sets by the entries' keys.
func OfSets(sets []tags.Set) (entries []Entry, details map[string]Detail, byKey map[string]tags.Set) {
	details, byKey = map[string]Detail{}, map[string]tags.Set{}
	for _, s := range sets {
		key := fmt.Sprintf("%s/%s/%s/%d", s.Account, s.Copy, s.UID, s.Attempt)
		e := Entry{Namespace: s.Namespace, Name: s.Backup, UID: types.UID(s.UID), Cut: s.CutTime, Key: key}
		// What was finished was found to be good; whether it is consistent, no tag tells.
		details[key], byKey[key] = Detail{Cluster: s.Cluster, Consistency: api.Consistent}, s
		if !s.Whole() {
			e.Broken = strings.Join(s.Broken, "; ")
		}
		entries = append(entries, e)
	}
	return entries, details, byKey
}

// Matching gives the sets that may be meant, broken ones too, in their order.
func Matching(sets []tags.Set, w Wanted) []tags.Set {
	return slices.DeleteFunc(slices.Clone(sets), func(s tags.Set) bool {
		return s.Namespace != w.Namespace || w.Name != "" && s.Backup != w.Name || w.UID != "" && s.UID != string(w.UID) ||
			w.Cluster != "" && s.Cluster != w.Cluster || !w.AsOf.IsZero() && s.CutTime.After(w.AsOf)
	})
}

// RecordOf makes the record of a set from its tags, and the objects that it is to be
// restored with. It has no shard maps and no counts: there is nothing that the
// restored data could be compared with.
func RecordOf(s tags.Set, objects []json.RawMessage) (catalog.Record, error) {
	if !s.Whole() {
		return catalog.Record{}, fmt.Errorf("the set is broken: %s", strings.Join(s.Broken, "; "))
	}
	r := catalog.Record{Format: catalog.FormatVersion, Namespace: s.Namespace, Name: s.Backup, UID: types.UID(s.UID), CutTime: s.CutTime, FromTags: true, Objects: objects}
	for _, m := range s.Members {
		name := m.NodeName
		if name == "" {
			name = nodeName(m.Node, s.Namespace, s.Size)
		}
		bytes := int64(m.Snapshot.SizeGiB) << 30
		ebs := &api.EBSVolume{Region: s.Region, Account: s.Account, SizeGiB: m.Snapshot.SizeGiB, Encrypted: m.Snapshot.Encrypted, KMSKeyID: m.Snapshot.KMSKeyID}
		if s.Copy == "" {
			ebs.VolumeID = m.Snapshot.VolumeID
		}
		r.Nodes = append(r.Nodes, catalog.Node{Service: m.Node, ErlangName: name, Claim: m.Claim, CapacityBytes: bytes, RestoreBytes: bytes,
			FSType: m.FSType, Partition: m.Partition, DataSubPath: m.DataSubPath, ConfigSubPath: m.ConfigSubPath, ConfigOnVolume: m.ConfigOnVolume,
			Method: api.MethodEBS, EBS: ebs, Driver: cht.EBSDriver, SnapshotHandle: m.Snapshot.ID})
	}
	if len(r.Nodes) == 0 {
		return r, errors.New("the set has no members")
	}
	return r, r.Check()
}

// nodeName is CouchDB's own name of a node in the CHT's charts.
func nodeName(service, namespace string, size int) string {
	if size == 1 && service == "couchdb" {
		return "couchdb@127.0.0.1"
	}
	return "couchdb@" + service + "." + namespace + ".svc.cluster.local"
}
