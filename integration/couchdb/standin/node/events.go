package node

import (
	"context"
	"encoding/json"
	"strings"
	"sync"
)

// eventHub tells waiting change feeds, on every node, that a database changed.
type eventHub struct {
	n       *Node
	mu      sync.Mutex
	waiting map[string]map[chan struct{}]bool
	dirty   map[string]bool
	users   []string
	wake    chan struct{}
}

type event struct {
	DBs   []string
	Users []string // documents of _users that changed: cached logins to forget
}

func (h *eventHub) init(n *Node) {
	h.n, h.waiting, h.dirty, h.wake = n, map[string]map[chan struct{}]bool{}, map[string]bool{}, make(chan struct{}, 1)
	go h.broadcast()
}

func (h *eventHub) committed(db string, ids []string) {
	h.mu.Lock()
	h.dirty[db] = true
	if db == "_users" {
		h.users = append(h.users, ids...)
	}
	h.mu.Unlock()
	select {
	case h.wake <- struct{}{}:
	default: // one wake-up covers everything gathered so far
	}
}

func (h *eventHub) broadcast() {
	for range h.wake {
		h.mu.Lock()
		ev := event{Users: h.users}
		for db := range h.dirty {
			ev.DBs = append(ev.DBs, db)
		}
		h.dirty, h.users = map[string]bool{}, nil
		h.mu.Unlock()
		if len(ev.DBs) == 0 {
			continue
		}
		_, _ = h.receive(context.Background(), ev)
		if body, err := json.Marshal(ev); err == nil {
			h.n.mesh.Cast("event", body)
		}
	}
}

func (h *eventHub) receive(_ context.Context, ev event) (none, error) {
	for _, id := range ev.Users {
		h.n.auth.forget(strings.TrimPrefix(id, "org.couchdb.user:"))
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, db := range ev.DBs {
		for ch := range h.waiting[db] {
			select {
			case ch <- struct{}{}:
			default:
			}
		}
	}
	return none{}, nil
}

// subscribe returns a channel that fires after changes, and its release.
func (h *eventHub) subscribe(db string) (<-chan struct{}, func()) {
	ch := make(chan struct{}, 1)
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.waiting[db] == nil {
		h.waiting[db] = map[chan struct{}]bool{}
	}
	h.waiting[db][ch] = true
	return ch, func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		delete(h.waiting[db], ch)
	}
}
