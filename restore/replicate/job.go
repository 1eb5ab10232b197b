package replicate

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync/atomic"
	"time"

	"k8s.io/apimachinery/pkg/types"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/snapshot/couchdb"
	"github.com/medic/cht-backup/snapshot/reason"
)

// Side is one database, and the nodes through which it can be reached: any of them
// gives all of it.
type Side struct {
	Database string
	Clients  []*couchdb.Client
	turn     *atomic.Uint32
}

// NewSide names a database of a cluster. It needs a client at the least.
func NewSide(database string, clients []*couchdb.Client) Side {
	return Side{Database: database, Clients: clients, turn: &atomic.Uint32{}}
}

// next spreads the requests over the nodes.
func (s Side) next() *couchdb.Client {
	return s.Clients[int(s.turn.Add(1))%len(s.Clients)]
}

// Job is one copy.
type Job struct {
	From, To Side
	// Owner is the restore that the copy belongs to: its marker must stand in To.
	Owner types.UID
	// Idle bounds the wait for the next byte of an answer.
	Idle time.Duration
	// Report is told how far it is, now and then, never twice at a time.
	Report func(Progress)
}

// Progress is how far a copy is.
type Progress struct {
	// Doing is what is being done, in words.
	Doing string
	// Done and Total are documents, deleted ones included.
	Done, Total int64
	// Took is how long it has been doing that.
	Took time.Duration
}

const (
	// page is how many documents are copied between two notes of the position.
	page = 2000
	// chunk is how many documents one worker works on at a time.
	chunk = 200
	// workers bound the load on both clusters, of which one serves people.
	workers = 4
	// batchBytes bounds one request's documents, and with workers the memory taken.
	batchBytes = 2 << 20
	// inline is the most that a document's attachments may have to go with others.
	// Larger ones are passed on as they come.
	inline = 128 << 10
	// reportEvery bounds how often progress is told.
	reportEvery = 5 * time.Second
	// tries is how often a request is made before its error is given back.
	tries = 6
)

// pace is the first pause before a request is made again. A variable for tests.
var pace = 200 * time.Millisecond

// insist makes a request until it succeeds, for a few seconds. What cannot heal is
// given back at once, with a reason.
func insist(ctx context.Context, do func() error) error {
	pause := pace
	for try := 1; ; try++ {
		err := do()
		if err == nil || ctx.Err() != nil {
			return err
		}
		if final(err) {
			return reason.Refuse(api.ReasonReplicationFailed, "%w", err)
		}
		if try == tries {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", ctx.Err(), err)
		case <-time.After(pause): // CouchDB tells nobody when it is ready
		}
		pause = min(pause*2, 3*time.Second)
	}
}

// final tells whether an answer will be the same however often it is asked for. A
// node that just started answers 401, 404 and 500 for a while.
func final(err error) bool {
	if errors.Is(err, errRefused) || reason.Of(err) != nil {
		return true
	}
	var e *couchdb.StatusError
	if !errors.As(err, &e) {
		return false
	}
	switch e.Status {
	case http.StatusBadRequest, http.StatusForbidden, http.StatusMethodNotAllowed, http.StatusRequestEntityTooLarge, http.StatusUnsupportedMediaType, http.StatusInsufficientStorage:
		return true
	}
	return false
}

// errRefused says that the database did not take a document.
var errRefused = errors.New("not accepted")

// meter tells of progress, not too often.
type meter struct {
	report      func(Progress)
	begun, last time.Time
}

func (m *meter) tell(doing string, done, total int64) {
	if m.report != nil && time.Since(m.last) >= reportEvery {
		m.last = time.Now()
		m.report(Progress{Doing: doing, Done: done, Total: max(total, done), Took: time.Since(m.begun)})
	}
}
