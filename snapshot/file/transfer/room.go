package transfer

import (
	"sync"
	"sync/atomic"
)

// Room is memory for a chunk, plain or compressed, that is used for one after the other.
// Made anew for each, it would be cleared before it is written, and twice as many would
// be in memory until they are collected. It is given back once: by whom a chunk ends
// with. Who does not leaves it to the collector.
type Room struct {
	space *[]byte
	back  atomic.Bool
}

// roomFor is what a room has space for, in bytes: a chunk of the usual 1 MiB, also one
// that could not be compressed, and is sealed.
const roomFor = 1<<20 + 8<<10

var rooms = sync.Pool{New: func() any { b := make([]byte, roomFor); return &b }}

// NewRoom gives one that nobody else has.
func NewRoom() *Room {
	return &Room{space: rooms.Get().(*[]byte)} //nolint:errcheck,forcetypeassert // it makes nothing else
}

// Space of that many bytes: the room's, or where it is too small its own.
func (r *Room) Space(n int) []byte {
	if n > roomFor {
		return make([]byte, n)
	}
	return (*r.space)[:n]
}

// Back gives it back. Again, it does nothing: the room may be somebody else's by then, in
// whose chunk others would be found. It may be nil.
func (r *Room) Back() {
	if r != nil && !r.back.Swap(true) {
		rooms.Put(r.space)
	}
}
