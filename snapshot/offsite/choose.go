package offsite

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"regexp"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/types"

	"github.com/medic/cht-backup/snapshot/catalog/bucket"
)

const (
	// mostShown bounds the Backups that show the catalog, of all namespaces: etcd is not
	// there to hold a bucket's list.
	mostShown = 2000
	// mostHeads bounds what is listed.
	mostHeads = 2_000_000
	// longestName of a Backup.
	longestName = 200
)

// newest keeps the newest records of each namespace, as they come by.
type newest struct {
	each int
	of   map[string][]bucket.Head
}

func (n *newest) add(h bucket.Head) {
	kept := append(n.of[h.Namespace], h)
	if len(kept) > 2*n.each {
		kept = latest(kept, n.each)
	}
	n.of[h.Namespace] = kept
}

// latest gives the n newest, the newest first.
func latest(heads []bucket.Head, n int) []bucket.Head {
	slices.SortFunc(heads, func(a, b bucket.Head) int {
		return cmp.Or(b.CutTime.Compare(a.CutTime), strings.Compare(a.Key(), b.Key()))
	})
	return slices.Clone(heads[:min(n, len(heads))])
}

// chosen gives the heads to show, by the names of the Backups that show them.
func (n *newest) chosen(most int) map[string]bucket.Head {
	var all []bucket.Head
	for _, heads := range n.of {
		all = append(all, latest(heads, n.each)...)
	}
	byName := map[string]bucket.Head{}
	for _, h := range latest(all, most) {
		byName[nameOf(h)] = h
	}
	return byName
}

var plainUID = regexp.MustCompile(`^[a-z0-9]{8}`)

// nameOf is the name of the Backup that shows a record: NAMESPACE-NAME-UID, of the
// last as much as tells apart what people look at, and a digest where that or the
// length would not do.
func nameOf(h bucket.Head) string {
	end := plainUID.FindString(string(h.UID))
	name := h.Namespace + "-" + h.Name
	if room := longestName - 18; end == "" || len(name) > room {
		sum := sha256.Sum256([]byte(h.Key()))
		end = hex.EncodeToString(sum[:8])
		name = name[:min(len(name), room)]
	}
	return strings.TrimRight(name, "-.") + "-" + end
}

// here are the UIDs whose Backup or record is in this cluster.
type here map[types.UID]bool
