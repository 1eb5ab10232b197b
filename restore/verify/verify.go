package verify

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/snapshot/catalog"
	"github.com/medic/cht-backup/snapshot/couchdb"
	"github.com/medic/cht-backup/snapshot/reason"
)

// Cluster are the restored nodes. The three lists go together.
type Cluster struct {
	// Names are CouchDB's names of the nodes, Services what people call them.
	Names, Services []string
	Clients         []*couchdb.Client
}

// Job is one verification.
type Job struct {
	Cluster
	Record catalog.Record
	// Maps are the shard maps of the databases that are there.
	Maps  []couchdb.ShardMap
	Level api.VerificationLevel
	// Stuck is how long nothing may move before it is given up. The whole has no
	// bound: it takes as long as there are documents.
	Stuck time.Duration
	// Report is told now and then how far it is, never twice at a time. It is not
	// called any more once Run has returned.
	Report func(v api.Verification, doing string)
}

const (
	// reportEvery bounds how often the status is written.
	reportEvery = 5 * time.Second
	// patience is how often the same bad answer is taken before it is a finding.
	patience = 8
	// most problems and notes that are listed.
	most = 20
)

// pace is the first pause before something is asked again. A variable for tests.
var pace = 100 * time.Millisecond

// run is a Job under way.
type run struct {
	Job
	names []string // of the databases
	// totals are their documents by their own counts, deleted ones included.
	totals map[string]int64

	mu       sync.Mutex
	v        api.Verification
	doing    string
	problems int
	notes    int
	said     map[string]bool

	meter meter
}

// Run verifies. The error is final: what was found, or that nothing moved; or it
// is the context's. The evidence is given also with an error.
func (j Job) Run(ctx context.Context) (api.Verification, error) {
	now := metav1.NowMicro()
	r := &run{Job: j, said: map[string]bool{}, totals: map[string]int64{}}
	r.v.Level, r.v.StartTime, r.v.Databases = j.Level, &now, int32(len(j.Maps)) //nolint:gosec // far below
	for _, m := range j.Maps {
		r.names = append(r.names, m.ID)
	}
	slices.Sort(r.names)
	ctx, stop := r.watch(ctx)
	err := r.levels(ctx)
	if err != nil && ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	stop()
	r.mu.Lock()
	defer r.mu.Unlock()
	done := metav1.NowMicro()
	r.v.CompletionTime, r.v.Progress = &done, nil
	if err != nil {
		return r.v, err
	}
	return r.v, Judge(&r.v, r.problems)
}

func (r *run) levels(ctx context.Context) error {
	steps := []struct {
		doing string
		do    func(context.Context) error
	}{
		{"looking for every shard on its node", r.shards},
		{"counting the documents of every database through every node", r.counts},
		{"comparing the revisions of a sample of documents", r.samples},
		{"reading every document and attachment", r.documents},
		{"asking every view", r.views},
	}
	upTo := 2
	switch r.Level {
	case api.VerifyQuick:
	case api.VerifyFull:
		upTo = len(steps)
	default: // restores of before had no level: they read a sample
		upTo = 3
	}
	for _, s := range steps[:upTo] {
		r.say(s.doing)
		if err := s.do(ctx); err != nil {
			return err
		}
	}
	return nil
}

// Judge turns problems into an error and keeps their list short. all is how many
// there are, of which the list may lack some.
func Judge(v *api.Verification, all int) error {
	all = max(all, len(v.Problems))
	if all == 0 {
		return nil
	}
	first := v.Problems[0]
	if all > most {
		v.Problems = append(v.Problems[:min(most, len(v.Problems))], fmt.Sprintf("and %d more", all-most))
	}
	return reason.Refuse(api.ReasonVerificationFailed, "the restored data is not what was backed up: %s (%d problems in all, see status.verification)", first, all)
}

// problem notes a finding, once.
func (r *run) problem(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	text := fmt.Sprintf(format, args...)
	if r.said[text] {
		return
	}
	if r.problems++; r.problems <= most {
		r.said[text] = true
		r.v.Problems = append(r.v.Problems, text)
	}
}

// note says what could not be compared.
func (r *run) note(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	text := fmt.Sprintf(format, args...)
	if r.said[text] {
		return
	}
	switch r.notes++; {
	case r.notes <= most:
		r.said[text] = true
		r.v.Notes = append(r.v.Notes, text)
	case r.notes == most+1:
		r.v.Notes = append(r.v.Notes, "and more of the kind")
	}
}

// count changes the evidence.
func (r *run) count(f func(v *api.Verification)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	f(&r.v)
}

func (r *run) say(doing string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.doing = doing
}
