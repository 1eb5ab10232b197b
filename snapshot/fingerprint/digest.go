package fingerprint

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"hash/fnv"
	"math/bits"
	"slices"
)

// Buckets a database's documents fall into by their id. A document that was
// written to after the cut takes its bucket out of the comparison, and no more:
// so what is noted stays small, whatever the number of documents.
const Buckets = 1 << 16

// sum is a number modulo 2^256, the lowest word first.
type sum [4]uint64

func (s *sum) add(o sum) {
	var carry uint64
	for i := range s {
		s[i], carry = bits.Add64(s[i], o[i], carry)
	}
}

// Digest is of a set of documents with their leaf revisions. The documents may
// come in any order: each is hashed, and the hashes of a bucket are summed up. It
// takes some 2.5 MB whatever it is of.
type Digest struct {
	sums   [Buckets]sum
	counts [Buckets]uint32
	n      int64
}

// BucketOf tells where an id falls.
func BucketOf(id string) uint16 {
	h := fnv.New32a()
	_, _ = h.Write([]byte(id))
	v := h.Sum32()
	return uint16(v ^ v>>16) //nolint:gosec // the lower half is meant
}

// Add adds a document. The order of its revisions does not matter.
func (d *Digest) Add(id string, revs []string, deleted bool) {
	if len(revs) > 1 {
		revs = slices.Sorted(slices.Values(revs))
	}
	text := make([]byte, 0, 256)
	put := func(s string) {
		text = binary.AppendUvarint(text, uint64(len(s)))
		text = append(text, s...)
	}
	put(id)
	for _, rev := range revs {
		put(rev)
	}
	if deleted {
		put("deleted")
	}
	h := sha256.Sum256(text)
	var s sum
	for i := range s {
		s[i] = binary.LittleEndian.Uint64(h[8*i:])
	}
	bucket := BucketOf(id)
	d.sums[bucket].add(s)
	d.counts[bucket]++
	d.n++
}

// Len is the number of documents added.
func (d *Digest) Len() int64 { return d.n }

// Reset empties it, to be used for the next database.
func (d *Digest) Reset() {
	clear(d.sums[:])
	clear(d.counts[:])
	d.n = 0
}

// Sum gives the digest and the number of the documents outside the named buckets.
func (d *Digest) Sum(without []uint16) (digest string, documents int64) {
	var out [Buckets / 64]uint64
	for _, b := range without {
		out[b/64] |= 1 << (b % 64)
	}
	var total sum
	for i := range d.sums {
		if out[i/64]&(1<<(i%64)) == 0 {
			total.add(d.sums[i])
			documents += int64(d.counts[i])
		}
	}
	var text [32]byte
	for i, word := range total {
		binary.LittleEndian.PutUint64(text[8*i:], word)
	}
	return hex.EncodeToString(text[:]), documents
}
