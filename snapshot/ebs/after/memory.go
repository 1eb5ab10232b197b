package after

import (
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	ktypes "k8s.io/apimachinery/pkg/types"
)

// memory is what this process knows of one backup beyond its status. All of it can be
// lost: it is asked for or done again then, with the same outcome.
type memory struct {
	// since is when this process saw the backup first.
	since time.Time
	// shared are the snapshots whose accounts are told, locks what is known of locks.
	shared map[string]bool
	locks  map[string]lock
	copies map[string]*copyMemory
	// tags are those of the originals.
	tags map[string][]types.Tag
	// waits are those after failures, by what failed.
	waits map[string]*wait
}

// copyMemory is what is known of one copy.
type copyMemory struct {
	// noted: this process wrote the copy down, so that nothing was started before.
	noted bool
	// found is when its snapshots were looked for by their tags.
	found time.Time
	// trust is from when on a search that finds nothing says that nothing is there: EC2
	// may not show for a while what was just made.
	trust time.Time
	// started is when this process started a node's snapshot.
	started map[string]time.Time
	// redone counts the snapshots that ended badly, though they had been started.
	redone int
	// nextLook is when what is under way is looked at next.
	nextLook time.Time
	// trouble says why it does not go on, waits what it waits for.
	trouble, waits string
}

// since is when a node's copy was begun, as far as this process knows.
func (m *copyMemory) since(node string, otherwise time.Time) time.Time {
	if at, known := m.started[node]; known {
		return at
	}
	return otherwise
}

// wait is the pause after failures.
type wait struct {
	failures int
	until    time.Time
}

// settling is how long EC2 may take to show what was made.
const settling = time.Minute

// memories are those of all backups under work.
type memories struct {
	mutex sync.Mutex
	byUID map[ktypes.UID]*memory
}

// of gives a backup's memory. Only one worker works on a backup at a time.
func (m *memories) of(uid ktypes.UID, now time.Time) *memory {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	if m.byUID == nil {
		m.byUID = map[ktypes.UID]*memory{}
	}
	if m.byUID[uid] == nil {
		m.byUID[uid] = &memory{since: now, shared: map[string]bool{}, locks: map[string]lock{}, copies: map[string]*copyMemory{},
			tags: map[string][]types.Tag{}, waits: map[string]*wait{}}
	}
	return m.byUID[uid]
}

func (m *memories) forget(uid ktypes.UID) {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	delete(m.byUID, uid)
}

// copy gives what is known of a copy. One that stood in the status before this process
// saw the backup may have been started by another a moment ago.
func (m *memory) copy(name string) *copyMemory {
	if m.copies[name] == nil {
		m.copies[name] = &copyMemory{trust: m.since.Add(settling), started: map[string]time.Time{}}
	}
	return m.copies[name]
}

// paused tells until when something is not to be tried.
func (m *memory) paused(what string, now time.Time) (time.Duration, bool) {
	if w := m.waits[what]; w != nil && w.until.After(now) {
		return w.until.Sub(now), true
	}
	return 0, false
}

// failed notes a failure and gives the pause.
func (m *memory) failed(what string, k kind, now time.Time) time.Duration {
	w := m.waits[what]
	if w == nil {
		w = &wait{}
		m.waits[what] = w
	}
	w.failures++
	d := pause(k, w.failures)
	w.until = now.Add(d)
	return d
}

func (m *memory) worked(what string) { delete(m.waits, what) }
