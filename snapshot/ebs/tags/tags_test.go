package tags

import (
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

var cutAt = time.Date(2026, 7, 1, 2, 0, 0, 120000, time.UTC)

// set is a good one of that many nodes.
func set(nodes int) (all []Snapshot) {
	c := Common{UID: "0f3c2a5e-1111-2222-3333-444455556666", Backup: "nightly-28", Namespace: "cht-kilifi", Cluster: "nairobi", CutTime: cutAt, Size: nodes, Attempt: 1}
	for i := range nodes {
		node := "couchdb"
		if nodes > 1 {
			node = "couchdb-" + strconv.Itoa(i+1)
		}
		m := Member{Node: node, NodeName: node + "@" + node + ".cht-kilifi.svc.cluster.local", Claim: node + "-claim0", DataSubPath: "storage/medic-core/couchdb/data", ConfigSubPath: "local.d",
			ConfigOnVolume: true, FSType: "ext4", Partition: "1"}
		t := c.Encode()
		maps.Copy(t, m.Encode())
		t[Complete] = "true"
		all = append(all, Snapshot{ID: "snap-" + strconv.Itoa(i+1), Tags: t, Region: "eu-west-1", Account: "111122223333", State: "completed", SizeGiB: 100})
	}
	return all
}

// of copies a set's snapshots, changed.
func changed(all []Snapshot, i int, change func(*Snapshot)) []Snapshot {
	s := all[i]
	s.Tags = maps.Clone(s.Tags)
	change(&s)
	all = slices.Clone(all)
	all[i] = s
	return all
}

func TestEncodedIsDecoded(t *testing.T) {
	for _, m := range []Member{
		{Node: "couchdb-12", Claim: "couchdb-12-claim0", NodeName: "couchdb@couchdb-12.x.svc", DataSubPath: "data", ConfigOnVolume: true, ConfigSubPath: "local.d", FSType: "xfs", Partition: "12"},
		{Node: "couchdb", Claim: "c", ConfigOnVolume: true}, // the volume's root, for both
		{Node: "couchdb", Claim: "c", DataSubPath: "data"},
	} {
		got, err := decodeMember(m.Encode())
		if err != nil || got != m {
			t.Errorf("%+v became %+v, %v", m, got, err)
		}
	}
	c := Common{UID: "u-1", Backup: "n.ightly", Namespace: "cht", Cluster: "0f3c2a5e", CutTime: cutAt, Size: 3, Attempt: 2, Copy: "frankfurt"}
	if got, err := decodeCommon(c.Encode()); err != nil || got != c {
		t.Errorf("%+v became %+v, %v", c, got, err)
	}
	if at := c.Encode()[CutTime]; at != "2026-07-01T02:00:00.000120Z" {
		t.Errorf("cut-time %s", at)
	}
	// What has no room is missing, never shortened: a wrong path is worse than none.
	long := Member{Node: "couchdb", Claim: "c", DataSubPath: strings.Repeat("d/", 200)}
	if _, there := long.Encode()[DataSubPath]; there {
		t.Error("a path was cut short")
	}
	if _, err := decodeMember(long.Encode()); err == nil || !strings.Contains(err.Error(), "missing") {
		t.Errorf("%v", err)
	}
}

func TestSetsThatAreWhole(t *testing.T) {
	for _, nodes := range []int{1, 3, 12} {
		all := set(nodes)
		slices.Reverse(all)
		sets, strays := Reassemble(append(all, all...)) // pages may overlap
		if len(sets) != 1 || len(strays) != 0 || !sets[0].Whole() || len(sets[0].Members) != nodes {
			t.Fatalf("%+v, %+v", sets, strays)
		}
		for i, m := range sets[0].Members {
			if want := "snap-" + strconv.Itoa(i+1); m.Snapshot.ID != want {
				t.Errorf("member %d is %s, not %s", i, m.Snapshot.ID, want)
			}
		}
	}
	// A chart of one numbered node.
	one := changed(set(1), 0, func(s *Snapshot) { s.Tags[Node] = "couchdb-1" })
	if sets, _ := Reassemble(one); !sets[0].Whole() {
		t.Errorf("%v", sets[0].Broken)
	}
}

func TestSetsThatAreBroken(t *testing.T) {
	tagged := func(key, value string) func(*Snapshot) { return func(s *Snapshot) { s.Tags[key] = value } }
	for _, tt := range []struct {
		name string
		all  []Snapshot
		why  string
	}{
		{"a member is missing", set(3)[:2], "of 3 members, 1 are missing: couchdb-3"},
		{"two of one node", changed(set(3), 2, tagged(Node, "couchdb-2")), "snap-2 and snap-3 are both of couchdb-2"},
		{"two of one claim", changed(set(3), 2, tagged(Claim, "couchdb-2-claim0")), "both of claim couchdb-2-claim0"},
		{"other times", changed(set(3), 1, tagged(CutTime, "2026-07-01T02:00:01.000000Z")), CutTime},
		{"other sizes", changed(set(3), 1, tagged(SetSize, "4")), SetSize},
		{"other names", changed(set(3), 1, tagged(Backup, "weekly")), Backup},
		{"other namespaces", changed(set(3), 1, tagged(Namespace, "cht-lamu")), Namespace},
		{"not complete", changed(set(3), 1, func(s *Snapshot) { delete(s.Tags, Complete) }), "snap-2 (couchdb-2): it lacks the tag"},
		{"complete by another word", changed(set(3), 1, tagged(Complete, "TRUE")), "lacks the tag"},
		{"still copied", changed(set(3), 1, func(s *Snapshot) { s.State = "pending" }), `"pending", not completed`},
		{"an error", changed(set(3), 1, func(s *Snapshot) { s.State, s.StateMessage = "error", "no key" }), "no key"},
		{"a node it cannot have", changed(set(3), 1, tagged(Node, "couchdb-7")), "a set of 3 does not have"},
		{"a foreign node", changed(set(3), 1, tagged(Node, "postgres")), `"postgres", which it cannot be`},
		{"a way out of the volume", changed(set(3), 1, tagged(DataSubPath, "../../etc")), DataSubPath},
		{"an absolute path", changed(set(3), 1, tagged(ConfigSubPath, "/etc")), ConfigSubPath},
		{"no path", changed(set(3), 1, func(s *Snapshot) { delete(s.Tags, DataSubPath) }), DataSubPath + " is missing"},
		{"a partition that is a command", changed(set(3), 1, tagged(Partition, "1; rm")), Partition},
		{"mixed attempts", changed(set(3), 1, tagged(Attempt, "2")), "snapshots of 2 attempts"},
		{"mixed accounts", changed(set(3), 1, func(s *Snapshot) { s.Account = "999999999999" }), "missing"},
		{"mixed Regions", changed(set(3), 1, func(s *Snapshot) { s.Region = "us-east-1" }), "missing"},
		{"mixed copies", changed(set(3), 1, tagged(Copy, "frankfurt")), "missing"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			sets, _ := Reassemble(tt.all)
			if len(sets) == 0 {
				t.Fatal("no set")
			}
			for _, s := range sets {
				if s.Whole() {
					t.Fatalf("a set is whole: %+v", s)
				}
			}
			if why := strings.Join(sets[0].Broken, "\n") + strings.Join(sets[len(sets)-1].Broken, "\n"); !strings.Contains(why, tt.why) {
				t.Errorf("%s, wanted %q", why, tt.why)
			}
		})
	}
}

// What an attempt that broke off left behind does not spoil the good one.
func TestAnAttemptBesideAnother(t *testing.T) {
	old := changed(set(3)[:1], 0, func(s *Snapshot) { s.ID, s.Tags[Attempt] = "snap-old", "1" })
	var good []Snapshot
	for i := range 3 {
		good = append(good, changed(set(3), i, func(s *Snapshot) { s.Tags[Attempt] = "2" })[i])
	}
	sets, _ := Reassemble(append(old, good...))
	if len(sets) != 2 || !sets[0].Whole() || sets[0].Attempt != 2 || sets[1].Whole() {
		t.Errorf("%+v", sets)
	}
}

func TestNewestFirst(t *testing.T) {
	newer := changed(set(1), 0, func(s *Snapshot) { s.ID, s.Tags[BackupUID], s.Tags[CutTime] = "snap-9", "uid-9", "2026-08-01T02:00:00.000000Z" })
	sets, _ := Reassemble(append(set(1), newer...))
	if len(sets) != 2 || sets[0].UID != "uid-9" {
		t.Errorf("%+v", sets)
	}
}

func TestStrays(t *testing.T) {
	for key, value := range map[string]string{
		BackupUID: "", Backup: "../x", Namespace: "CHT", Cluster: "", CutTime: "yesterday", SetSize: "1000000000", Attempt: "-1", Copy: "a b",
	} {
		all := changed(set(1), 0, func(s *Snapshot) { s.Tags[key] = value })
		sets, strays := Reassemble(all)
		if len(sets) != 0 || len(strays) != 1 || !strings.Contains(strays[0].Why, key) {
			t.Errorf("%s=%q: %+v, %+v", key, value, sets, strays)
		}
	}
	many := changed(set(1), 0, func(s *Snapshot) {
		for i := range 60 {
			s.Tags[strconv.Itoa(i)] = ""
		}
	})
	if sets, strays := Reassemble(many); len(sets) != 0 || len(strays) != 1 {
		t.Errorf("%+v, %+v", sets, strays)
	}
}

// Whoever can tag ten thousand snapshots with one UID fills neither a screen nor the
// memory.
func TestAForgedCrowdIsBounded(t *testing.T) {
	one := set(1)[0]
	var all []Snapshot
	for i := range 10_000 {
		s := one
		s.ID = "snap-" + strconv.Itoa(i)
		s.StateMessage, s.State = strings.Repeat("x", 10_000), "error"
		all = append(all, s)
	}
	sets, _ := Reassemble(all)
	if len(sets) != 1 || len(sets[0].Members) > largestSet+1 || len(strings.Join(sets[0].Broken, "")) > 20_000 || sets[0].Whole() {
		t.Errorf("%d sets, %d members, %d reasons", len(sets), len(sets[0].Members), len(sets[0].Broken))
	}
}
