package node

import "fmt"

const (
	// leastFree of a volume's file system must be free for a copy to begin: what is held
	// open stays allocated when CouchDB compacts or deletes it.
	leastFree = 1 << 30
	// leastShare of a small file system is enough: one part in so many.
	leastShare = 20
	// pressed is how much of it may be gone before what is held is given up: one part in
	// so many is left.
	pressed = 2
)

// floor is the least that must be free.
func floor(capacity int64) int64 { return min(leastFree, capacity/leastShare) }

// enoughSpace judges a volume before it is copied from.
func enoughSpace(free, capacity int64) error {
	if least := floor(capacity); free < least {
		return fmt.Errorf("%w: %s of %s are free on CouchDB's volume, and while its files are copied what it compacts away stays; have at least %s free, better as much as its largest database has",
			ErrNoSpace, gib(free), gib(capacity), gib(least))
	}
	return nil
}

// relief tells what to do about held files that CouchDB has removed: bytes of those whose
// copy has been read, and of the others.
func relief(free, capacity, read, unread int64) (letRead, letAll bool) {
	least := floor(capacity) / pressed
	if free >= least || read+unread == 0 {
		return false, false
	}
	return read > 0, free+read < least
}
