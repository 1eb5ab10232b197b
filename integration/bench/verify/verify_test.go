package main

import (
	"strings"
	"testing"
	"time"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/snapshot/fingerprint"
)

func TestParse(t *testing.T) {
	o, err := parse(nil)
	if err != nil || o.documents != 1_000_000 || o.small != 100_000 {
		t.Errorf("%+v, %v", o, err)
	}
	for _, args := range []string{"--small 999", "--documents 100000", "surplus"} {
		if _, err := parse(strings.Fields(args)); err == nil {
			t.Errorf("%s is taken", args)
		}
	}
}

func TestSplit(t *testing.T) {
	for _, n := range []int{1000, 1001, 99_999, 1_000_000} {
		all := 0
		for i, part := range split(n) {
			if all += part; part == 0 {
				t.Errorf("of %d documents %s has none", n, shares[i].name)
			}
		}
		if all != n {
			t.Errorf("%d documents became %d", n, all)
		}
	}
}

// What is counted to check the product is what is written.
func TestDocuments(t *testing.T) {
	const n = 20_000
	seen, files, deleted, conflicts := map[any]bool{}, 0, 0, 0
	for i := range n {
		doc := document(i)
		seen[doc["_id"]] = true
		if doc["_deleted"] != nil {
			deleted++
		}
		if doc["_attachments"] != nil {
			files++
		}
		if conflict(i) != nil {
			conflicts++
			if doc["_deleted"] != nil || conflict(i)["_id"] != doc["_id"] {
				t.Errorf("document %d is in conflict with %v", i, doc)
			}
		}
	}
	if len(seen) != n || files != attachments(n) || files == 0 || deleted == 0 || conflicts == 0 {
		t.Errorf("%d ids, %d attachments (%d by count), %d deleted, %d conflicts", len(seen), files, attachments(n), deleted, conflicts)
	}
}

// Each way of being wrong is seen.
func TestVerdicts(t *testing.T) {
	r := &run{names: []string{"a", "b"}, have: []int{1000, 500}}
	good := answer{Verification: api.Verification{Streamed: 1500, Attachments: int64(attachments(1000) + attachments(500)), Digests: 2}}
	if err := r.intact(good, 1500); err != nil {
		t.Error(err)
	}
	for name, spoil := range map[string]func(a *answer){
		"refused":           func(a *answer) { a.Refused = "the restored data is not what was backed up" },
		"a document less":   func(a *answer) { a.Verification.Streamed-- },
		"a document more":   func(a *answer) { a.Verification.Streamed++ },
		"attachment unread": func(a *answer) { a.Verification.Attachments-- },
		"digest unread":     func(a *answer) { a.Verification.Digests-- },
	} {
		bad := good
		if spoil(&bad); r.intact(bad, 1500) == nil {
			t.Errorf("%s: taken for intact", name)
		}
	}
	one := answer{Refused: "no", Verification: api.Verification{Problems: []string{"database a has 5 documents as the backup has, but not the same ids and revisions: their digest differs"}}}
	if err := found(one, "a", "d1"); err != nil {
		t.Error(err)
	}
	if found(one, "b", "d1") == nil || found(answer{}, "a", "d1") == nil || found(answer{Verification: one.Verification}, "a", "d1") == nil {
		t.Error("what was not found is taken for found")
	}
	sampled := one
	sampled.Verification.Problems = append([]string{"database a has revisions [2-x] of document d1, the backup has [1-y]"}, one.Verification.Problems...)
	if err := found(sampled, "a", "d1"); err != nil {
		t.Errorf("the changed document was in the sample too: %v", err)
	}
	if found(sampled, "a", "d2") == nil {
		t.Error("another document's difference is taken")
	}
	two := one
	two.Verification.Problems = append(two.Verification.Problems, "more")
	if found(two, "a", "d1") == nil {
		t.Error("a problem too many is taken")
	}
	p := &fingerprint.Print{Databases: map[string]*fingerprint.Database{"a": {Digest: "x", Documents: 990, Excluded: 10}, "b": {Digest: "y", Documents: 500}}}
	if err := r.complete(p, 1500); err != nil {
		t.Error(err)
	}
	p.Databases["b"] = &fingerprint.Database{Missing: "gone"}
	if r.complete(p, 1500) == nil || r.complete(p, 1000) == nil {
		t.Error("a fingerprint without a database is taken")
	}
}

func TestTargets(t *testing.T) {
	of := func(documents int, kb int64) size {
		return size{documents: documents, verified: answer{PeakKB: kb, Took: time.Second}, damaged: answer{PeakKB: kb / 2}}
	}
	for _, tt := range []struct {
		small, large int64
		want         [2]string
	}{
		{40_000, 44_000, [2]string{"45.1 MB: met", "1.10 times that with 100, for 10 times the documents (at most 1.25): met"}},
		{40_000, 60_000, [2]string{"61.4 MB: met", ": NOT MET"}},
		{150_000, 150_000, [2]string{"153.6 MB: NOT MET", "1.00 times"}},
	} {
		got := targets([]size{of(100, tt.small), of(1000, tt.large)})
		for i, want := range tt.want {
			if len(got) != 2 || !strings.Contains(got[i], want) {
				t.Errorf("%d and %d: %q lacks %q", tt.small, tt.large, got, want)
			}
		}
	}
}
