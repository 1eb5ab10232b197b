package verify

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/snapshot/couchdb"
	"github.com/medic/cht-backup/snapshot/fingerprint"
	"github.com/medic/cht-backup/snapshot/reason"
)

var ladder = []api.VerificationLevel{api.VerifyQuick, api.VerifySample, api.VerifyFull}

// Each kind of damage is found from some level on, and not below: what a level
// costs more must find more.
func TestDamage(t *testing.T) {
	for _, tt := range []struct {
		name   string
		damage func(p *played)
		from   api.VerificationLevel
		text   string
	}{
		{"a shard is missing", func(p *played) { p.files["couchdb@b"] = nil }, api.VerifyQuick, "node couchdb-2 lacks shard shards/8-f/medic.1"},
		{"documents are missing", func(p *played) { delete(p.docs, "doc-20") }, api.VerifyQuick, "has 50 documents (deleted ones included), at least 51"},
		{"a sampled document is another", func(p *played) { p.docs["doc-01"].revs = []string{"1-zz"} }, api.VerifySample, "has revisions [1-zz] of document doc-01, the backup has [1-01]"},
		{"a conflict of a sampled document is gone", func(p *played) { p.docs["doc-03"].revs = []string{"2-b"} }, api.VerifySample, "doc-03"},
		{"a sampled document is deleted", func(p *played) { p.docs["doc-01"].deleted = true }, api.VerifySample, "lacks document doc-01"},
		{"a sampled document has no body", func(p *played) { p.docs["doc-01"].unreadable = true }, api.VerifySample, "cannot be read"},
		{"one for another, as many as before", func(p *played) { p.docs["doc-99"] = p.docs["doc-20"]; delete(p.docs, "doc-20") }, api.VerifyFull, "digest differs"},
		{"a revision is another", func(p *played) { p.docs["doc-20"].revs = []string{"1-zz"} }, api.VerifyFull, "digest differs"},
		{"a revision too many", func(p *played) { p.docs["doc-20"].revs = []string{"1-20", "1-00"} }, api.VerifyFull, "digest differs"},
		{"a document has no body", func(p *played) { p.docs["doc-20"].unreadable = true }, api.VerifyFull, "document doc-20 of database medic is listed and has no body"},
		{"an attachment is altered", func(p *played) { p.altered["doc-05/photo.bin"] = strings.Repeat("pixelz", 10000) }, api.VerifyFull, "attachment photo.bin of document doc-05 in database medic is damaged"},
		{"an attachment breaks off", func(p *played) { p.cutOff["doc-05/photo.bin"] = true }, api.VerifyFull, "attachment photo.bin of document doc-05"},
		{"an attachment is gone", func(p *played) { p.docs["doc-06"].attachments = map[string]string{"x": ""} }, api.VerifyFull, "attachment x of document doc-06 in database medic is damaged: GET"},
		{"the feed breaks off", func(p *played) { p.truncate = true }, api.VerifyFull, "cannot be read to its end through couchdb-1"},
		{"a view fails", func(p *played) { p.viewError = "internal_server_error" }, api.VerifyFull, "view medic-client/by_date of database medic does not answer"},
	} {
		for i, level := range ladder {
			t.Run(tt.name+", "+string(level), func(t *testing.T) {
				p := newPlayed(t)
				record := p.backedUp()
				tt.damage(p)
				v, err := p.verify(record, level)
				if i < slices.Index(ladder, tt.from) {
					if err != nil || len(v.Problems) > 0 {
						t.Errorf("found below its level: %v", err)
					}
					return
				}
				if e := reason.Of(err); e == nil || e.Reason != api.ReasonVerificationFailed || !strings.Contains(strings.Join(v.Problems, "\n"), tt.text) {
					t.Errorf("%v: %q", err, v.Problems)
				}
			})
		}
	}
}

// What differs between a copy and its source without harm is no finding.
func TestNoDamage(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(p *played)
		note   string
	}{
		{"as it was", func(*played) {}, ""},
		{"another order", func(p *played) { p.reverse = true }, ""},
		{"leaf revisions in another order", func(p *played) { p.docs["doc-03"].revs = []string{"2-a", "2-b"} }, ""},
		{"rows that come twice", func(p *played) { p.twice = 1 }, ""},
		{"views that take their time", func(p *played) { p.slowViews = patience + 3 }, ""},
		{"a view that never compiled", func(p *played) { p.viewError = "compilation_error" }, "does not compile"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := newPlayed(t)
			record := p.backedUp()
			tt.change(p)
			rows := int64(len(p.docs))
			if p.twice > 0 {
				rows *= 2
			}
			v, err := p.verify(record, api.VerifyFull)
			if err != nil {
				t.Fatal(err)
			}
			views := int32(2)
			if tt.note != "" {
				views = 0
			}
			if v.Shards != 2 || v.Databases != 1 || v.Documents != 50 || v.Sampled != 2 || v.Streamed != rows || v.Digests != 1 || v.Views != views || v.Progress != nil || v.CompletionTime == nil {
				t.Errorf("%+v", v)
			}
			if atts := rows / 51 * 2; v.Attachments != atts || v.AttachmentBytes != atts/2*60004 {
				t.Errorf("%d attachments, %d bytes", v.Attachments, v.AttachmentBytes)
			}
			if all := strings.Join(v.Notes, "\n"); (all == "") != (tt.note == "") || !strings.Contains(all, tt.note) {
				t.Errorf("notes %q", v.Notes)
			}
		})
	}
}

// A document that changed after the cut is not compared, and no other is spared.
func TestExcludedBuckets(t *testing.T) {
	p := newPlayed(t)
	record := p.backedUp()
	without := fingerprint.Without{fingerprint.BucketOf("doc-20")}
	digest := &fingerprint.Digest{}
	for id, d := range p.docs {
		digest.Add(id, d.revs, d.deleted)
	}
	d := record.Fingerprint.Databases[medic]
	d.Without = without
	d.Digest, d.Documents = digest.Sum(without)
	p.docs["doc-20"].revs = []string{"1-zz"}
	if v, err := p.verify(record, api.VerifyFull); err != nil || v.Digests != 1 {
		t.Errorf("%+v, %v", v, err)
	}
	p.docs["doc-21"].revs = []string{"1-zz"}
	if v, err := p.verify(record, api.VerifyFull); err == nil || v.Digests != 0 {
		t.Errorf("%+v, %v", v, err)
	}
}

// What could not be compared is said.
func TestNotes(t *testing.T) {
	for name, tt := range map[string]struct {
		print *fingerprint.Print
		notes []string
	}{
		"none":     {nil, []string{"noted no documents' revisions", "no digests of its databases"}},
		"a sample": {&fingerprint.Print{Level: api.FingerprintSample, Samples: map[string]map[string][]string{medic: {"doc-01": {"1-01"}}}}, []string{"no digests of its databases"}},
		"too many": {&fingerprint.Print{Level: api.FingerprintFull, Samples: map[string]map[string][]string{medic: {"doc-01": {"1-01"}}},
			Databases: map[string]*fingerprint.Database{medic: {Missing: "too many changes"}}}, []string{"not compared: too many changes"}},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPlayed(t)
			record := p.backedUp()
			record.Fingerprint = tt.print
			v, err := p.verify(record, api.VerifyFull)
			if err != nil || v.Digests != 0 || v.Streamed != 51 || len(v.Notes) != len(tt.notes) {
				t.Fatalf("%+v, %v", v, err)
			}
			for i, note := range tt.notes {
				if !strings.Contains(v.Notes[i], note) {
					t.Errorf("%q, not %q", v.Notes[i], note)
				}
			}
		})
	}
}

// A CouchDB that says nothing is no finding, and is not waited for without end.
func TestStandsStill(t *testing.T) {
	hang := make(chan struct{})
	s := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-hang:
		case <-r.Context().Done():
		}
	}))
	defer s.Close()
	defer close(hang)
	job := Job{Cluster: Cluster{Names: []string{"couchdb@a"}, Services: []string{"couchdb"}, Clients: []*couchdb.Client{couchdb.New(s.URL, "medic", "pw", http.DefaultTransport)}},
		Maps: []couchdb.ShardMap{theMap}, Level: api.VerifyFull, Stuck: 50 * time.Millisecond}
	v, err := job.Run(t.Context())
	if e := reason.Of(err); e == nil || e.Reason != api.ReasonStartTimeout || !strings.Contains(err.Error(), "stands still") || len(v.Problems) != 0 {
		t.Errorf("%+v, %v", v, err)
	}
	aborted, cancel := context.WithCancelCause(t.Context())
	cancel(errors.New("nobody wants it"))
	if _, err := job.Run(aborted); err == nil || reason.Of(err) != nil {
		t.Errorf("aborted: %v", err)
	}
}

func TestProgress(t *testing.T) {
	if p := Progress(0, 100, time.Second); p.DocumentsPerSecond != 0 || p.SecondsLeft != 0 || p.Total != 100 {
		t.Errorf("%+v", p)
	}
	if p := Progress(250, 1000, 10*time.Second); p.DocumentsPerSecond != 25 || p.SecondsLeft != 30 {
		t.Errorf("%+v", p)
	}
	if p := Progress(300, 200, time.Second); p.Total != 300 || p.SecondsLeft != 0 {
		t.Errorf("%+v", p)
	}
}

// However much is wrong, the status stays small.
func TestManyProblems(t *testing.T) {
	p := newPlayed(t)
	record := p.backedUp()
	for _, d := range p.docs {
		d.unreadable = true
	}
	v, err := p.verify(record, api.VerifyFull)
	if err == nil || len(v.Problems) != most+1 || !strings.HasPrefix(v.Problems[most], "and ") || !strings.Contains(err.Error(), "problems in all") {
		t.Errorf("%d problems, %v", len(v.Problems), err)
	}
}
