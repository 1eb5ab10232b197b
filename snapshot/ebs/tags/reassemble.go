package tags

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"
)

const (
	// mostTags a snapshot can bear.
	mostTags = 50
	// mostReasons are told of one set: whoever forges one shall not fill a screen.
	mostReasons = 12
)

// Snapshot is one as EC2 tells of it.
type Snapshot struct {
	ID     string
	Tags   map[string]string
	Region string
	// Account that owns it.
	Account string
	// VolumeID it was made of; a copy has one that does not exist.
	VolumeID string
	// State as EC2 says: pending, completed, error, recoverable, recovering.
	State, StateMessage string
	StartTime           time.Time
	SizeGiB             int32
	Encrypted           bool
	KMSKeyID            string
	// Tier it is stored in: standard or archive.
	Tier string
}

// Set is a backup's snapshots in one Region and account.
type Set struct {
	Common
	Region, Account string
	// Members in the order of the nodes' numbers, those that say whose they are.
	Members []Found
	// Broken says all that is wrong with the set. Empty: it can be restored.
	Broken []string
}

// Whole tells whether the set is complete and good.
func (s Set) Whole() bool { return len(s.Broken) == 0 }

// Found is a member and its snapshot.
type Found struct {
	Member
	Snapshot Snapshot
}

// Stray is a snapshot that belongs to no set.
type Stray struct {
	Snapshot Snapshot
	Why      string
}

// Reassemble puts sets together from snapshots that bear our tags, newest first.
// Snapshots of different attempts, Regions, accounts or copies are never of one set:
// a set is cut whole.
func Reassemble(snapshots []Snapshot) ([]Set, []Stray) {
	type key struct {
		uid, region, account, copy string
		attempt                    int32
	}
	type backup struct{ uid, region, account, copy string }
	var strays []Stray
	sets, order := map[key]*Set{}, []key{}
	attempts, seen := map[backup]map[int32]bool{}, map[string]bool{}
	for _, s := range snapshots {
		id := s.Region + "/" + s.ID
		if s.ID == "" || seen[id] {
			continue // a list of several pages may tell of one twice
		}
		seen[id] = true
		if len(s.Tags) > mostTags {
			strays = append(strays, Stray{s, fmt.Sprintf("it has %d tags; EC2 allows %d", len(s.Tags), mostTags)})
			continue
		}
		common, err := decodeCommon(s.Tags)
		if err != nil {
			strays = append(strays, Stray{s, err.Error()})
			continue
		}
		k := key{common.UID, s.Region, s.Account, common.Copy, common.Attempt}
		if sets[k] == nil {
			sets[k] = &Set{Common: common, Region: s.Region, Account: s.Account}
			order = append(order, k)
		}
		sets[k].add(s, common)
		of := backup{common.UID, s.Region, s.Account, common.Copy}
		if attempts[of] == nil {
			attempts[of] = map[int32]bool{}
		}
		attempts[of][common.Attempt] = true
	}
	all := make([]Set, 0, len(sets))
	for _, k := range order {
		s := sets[k]
		s.judge()
		if others := attempts[backup{k.uid, k.region, k.account, k.copy}]; len(others) > 1 && !s.Whole() {
			s.wrong("there are snapshots of %d attempts of this backup; each is a set of its own", len(others))
		}
		all = append(all, *s)
	}
	slices.SortStableFunc(all, func(a, b Set) int {
		return cmp.Or(b.CutTime.Compare(a.CutTime), strings.Compare(a.Namespace, b.Namespace), strings.Compare(a.UID, b.UID), cmp.Compare(b.Attempt, a.Attempt))
	})
	return all, strays
}

func (s *Set) wrong(format string, args ...any) {
	switch {
	case len(s.Broken) < mostReasons:
		s.Broken = append(s.Broken, fmt.Sprintf(format, args...))
	case len(s.Broken) == mostReasons:
		s.Broken = append(s.Broken, "and more")
	}
}

// add takes a snapshot into the set, and notes where it disagrees.
func (s *Set) add(snapshot Snapshot, common Common) {
	for _, c := range []struct{ what, first, this string }{
		{Backup, s.Backup, common.Backup}, {Namespace, s.Namespace, common.Namespace}, {Cluster, s.Cluster, common.Cluster},
		{CutTime, s.CutTime.Format(timeFormat), common.CutTime.Format(timeFormat)}, {SetSize, fmt.Sprint(s.Size), fmt.Sprint(common.Size)},
	} {
		if c.first != c.this {
			s.wrong("%s: tag %s is %q, on another member %q", snapshot.ID, c.what, c.this, c.first)
		}
	}
	member, err := decodeMember(snapshot.Tags)
	if err != nil {
		s.wrong("%s: %s", snapshot.ID, err)
		return
	}
	if snapshot.Tags[Complete] != "true" {
		s.wrong("%s (%s): it lacks the tag %s=true: the cut was not finished, or it is not known to be a consistent one", snapshot.ID, member.Node, Complete)
	}
	switch snapshot.State {
	case "completed":
	case "error":
		s.wrong("%s (%s): EC2 could not make it: %.200s", snapshot.ID, member.Node, strings.ToValidUTF8(snapshot.StateMessage, ""))
	default:
		s.wrong("%s (%s): it is %.20q, not completed", snapshot.ID, member.Node, snapshot.State)
	}
	if len(s.Members) > largestSet { // enough to show what is wrong
		return
	}
	s.Members = append(s.Members, Found{Member: member, Snapshot: snapshot})
}

// judge looks whether each node is there once.
func (s *Set) judge() {
	slices.SortStableFunc(s.Members, func(a, b Found) int {
		return cmp.Or(cmp.Compare(len(a.Node), len(b.Node)), strings.Compare(a.Node, b.Node), strings.Compare(a.Snapshot.ID, b.Snapshot.ID))
	})
	want := map[string]bool{"couchdb": true}
	if s.Size > 1 {
		want = map[string]bool{}
		for i := range s.Size {
			want[fmt.Sprintf("couchdb-%d", i+1)] = true
		}
	} else if len(s.Members) > 0 && s.Members[0].Node == "couchdb-1" {
		want = map[string]bool{"couchdb-1": true}
	}
	snapshots, claims := map[string]string{}, map[string]string{}
	for _, m := range s.Members {
		if other, twice := snapshots[m.Node]; twice {
			s.wrong("%s and %s are both of %s", other, m.Snapshot.ID, m.Node)
			continue
		}
		snapshots[m.Node] = m.Snapshot.ID
		if other, twice := claims[m.Claim]; twice {
			s.wrong("%s and %s are both of claim %s", other, m.Node, m.Claim)
		}
		claims[m.Claim] = m.Node
		if !want[m.Node] {
			s.wrong("%s is of %s, which a set of %d does not have", m.Snapshot.ID, m.Node, s.Size)
		}
	}
	var missing []string
	for node := range want {
		if snapshots[node] == "" {
			missing = append(missing, node)
		}
	}
	if len(missing) > 0 {
		slices.SortFunc(missing, func(a, b string) int { return cmp.Or(cmp.Compare(len(a), len(b)), strings.Compare(a, b)) })
		s.wrong("of %d members, %d are missing: %s", s.Size, len(missing), strings.Join(missing, ", "))
	}
}
