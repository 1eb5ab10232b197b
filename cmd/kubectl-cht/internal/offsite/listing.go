package offsite

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/medic/cht-backup/snapshot/catalog/bucket"
	"github.com/medic/cht-backup/snapshot/ebs/tags"
)

// Listing is what `catalog list` prints for programs. Its names stay; Version is
// raised should one change its meaning.
type Listing struct {
	Version int `json:"version"`
	// Source is the catalog's URL, or the Region whose snapshots' tags were read.
	Source  string   `json:"source"`
	Backups []Backup `json:"backups"`
}

// Backup is one of a listing. What is not known is left out.
type Backup struct {
	Namespace   string    `json:"namespace"`
	Name        string    `json:"name"`
	UID         string    `json:"uid"`
	CutTime     time.Time `json:"cutTime"`
	Key         string    `json:"key,omitempty"`
	Broken      []string  `json:"broken,omitempty"`
	Cluster     string    `json:"cluster,omitempty"`
	Consistency string    `json:"consistency,omitempty"`
	Nodes       int       `json:"nodes,omitempty"`
	// CapacityBytes of all volumes.
	CapacityBytes int64    `json:"capacityBytes,omitempty"`
	Databases     int      `json:"databases,omitempty"`
	Documents     int64    `json:"documents,omitempty"`
	Methods       []string `json:"methods,omitempty"`
	Regions       []string `json:"regions,omitempty"`
	Chart         string   `json:"chart,omitempty"`
	CouchDB       string   `json:"couchdb,omitempty"`
	Secrets       string   `json:"secrets,omitempty"`
	// Copy is the copy's name, of a set that is one.
	Copy string `json:"copy,omitempty"`
	// Account that owns the snapshots.
	Account string `json:"account,omitempty"`
}

// OfHead gives what a record's key tells.
func OfHead(h bucket.Head) Backup {
	return Backup{Namespace: h.Namespace, Name: h.Name, UID: string(h.UID), CutTime: h.CutTime, Key: h.Key()}
}

// OfManifest gives what a manifest tells.
func OfManifest(m bucket.Manifest) Backup {
	b := OfHead(m.Head())
	b.Cluster, b.Consistency, b.Nodes, b.CouchDB, b.Secrets = m.Cluster, string(m.Consistency), len(m.Nodes), m.CouchDB, string(m.Secrets.State)
	b.Databases, b.Documents, b.Chart = m.Databases, m.Documents, Chart(m)
	for _, n := range m.Nodes {
		b.CapacityBytes += n.CapacityBytes
		b.Methods, b.Regions = with(b.Methods, string(n.Method)), with(b.Regions, n.Region)
	}
	return b
}

// Chart gives the Helm chart of a release as NAME-VERSION, "" where there is none.
func Chart(m bucket.Manifest) string {
	if m.Release == nil {
		return ""
	}
	return strings.Trim(m.Release.Chart+"-"+m.Release.Version, "-")
}

// OfSet gives what the tags of a set tell.
func OfSet(s tags.Set) Backup {
	b := Backup{Namespace: s.Namespace, Name: s.Backup, UID: s.UID, CutTime: s.CutTime, Broken: s.Broken, Cluster: s.Cluster, Nodes: len(s.Members),
		Methods: []string{"EBS"}, Regions: []string{s.Region}, Copy: s.Copy, Account: s.Account}
	for _, m := range s.Members {
		b.CapacityBytes += int64(m.Snapshot.SizeGiB) << 30
	}
	return b
}

// Sort orders backups by namespace and cut, the oldest first, as `kubectl cht list`
// does.
func Sort(backups []Backup) {
	slices.SortStableFunc(backups, func(a, b Backup) int {
		return cmp.Or(strings.Compare(a.Namespace, b.Namespace), a.CutTime.Compare(b.CutTime), strings.Compare(a.Name, b.Name), strings.Compare(a.UID, b.UID))
	})
}

func with(all []string, one string) []string {
	if one == "" || slices.Contains(all, one) {
		return all
	}
	return append(all, one)
}
