package repo

import (
	"hash/maphash"

	"github.com/medic/cht-backup/snapshot/file/tree"
)

// place is where a chunk lies; pack is a number in the session's list. It has 48 bytes,
// since there may be millions.
type place struct {
	id                           tree.ID
	pack, offset, stored, length uint32
}

// index finds places by ID. It is a table of numbers into blocks, which takes some 56
// bytes for a chunk, and half of what a map would.
type index struct {
	blocks [][]place
	n      int
	table  []uint32 // 0 for nothing, else a place's number and 1
	seed   maphash.Seed
}

const placesInBlock = 4096

func newIndex() *index { return &index{table: make([]uint32, 1024), seed: maphash.MakeSeed()} }

func (x *index) at(i uint32) *place { return &x.blocks[i/placesInBlock][i%placesInBlock] }

// slot is where an ID is in the table, or would be. Who gives the IDs cannot know the
// seed, and so not make them meet.
func (x *index) slot(id *tree.ID) int {
	mask := uint64(len(x.table) - 1)
	i := maphash.Bytes(x.seed, id[:]) & mask
	for x.table[i] != 0 && x.at(x.table[i]-1).id != *id {
		i = (i + 1) & mask
	}
	return int(i) //nolint:gosec // below the table's length
}

func (x *index) find(id tree.ID) (uint32, bool) {
	i := x.table[x.slot(&id)]
	return i - 1, i != 0
}

// add notes a place if there is none of that ID, and gives the number of the one there is.
func (x *index) add(p place) uint32 {
	slot := x.slot(&p.id)
	if i := x.table[slot]; i != 0 {
		return i - 1
	}
	if x.n%placesInBlock == 0 {
		x.blocks = append(x.blocks, make([]place, 0, placesInBlock))
	}
	last := &x.blocks[len(x.blocks)-1]
	*last = append(*last, p)
	x.n++
	x.table[slot] = uint32(x.n) //nolint:gosec // bounded by the memory
	if x.n*4 > len(x.table)*3 {
		x.grow()
	}
	return uint32(x.n - 1) //nolint:gosec // as above
}

func (x *index) grow() {
	x.table = make([]uint32, 2*len(x.table))
	for i := range x.n {
		x.table[x.slot(&x.at(uint32(i)).id)] = uint32(i + 1) //nolint:gosec // as above
	}
}
