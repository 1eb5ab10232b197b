package shardfile

// Slots bounds how many file operations run at once, like the Erlang VM's
// dirty-IO threads. When writers blocked on a frozen disk hold all of them,
// reads wait too: that is the behaviour, not a fault.
type Slots chan struct{}

// NewSlots makes n slots.
func NewSlots(n int) Slots { return make(Slots, n) }

// Do runs f in a slot.
func (s Slots) Do(f func() error) error {
	s <- struct{}{}
	defer func() { <-s }()
	return f()
}
