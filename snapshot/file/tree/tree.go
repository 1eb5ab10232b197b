// Package tree holds what is known of the files of one CouchDB node at one cut: their
// paths, how long they were, and the chunks they are made of. It reads and writes
// nothing.
package tree

import (
	"crypto/subtle"
	"encoding/hex"
	"fmt"
	"strings"

	"github.com/zeebo/blake3"
)

// The two places that files come from: CouchDB's data directory and its local.d. Paths
// in a tree begin with one of them, whatever the volume's own layout is.
const (
	Data   = "data/"
	Config = "config/"
)

// ID names a chunk by what is in it: BLAKE3 of its plain bytes, keyed with the
// repository's own key, so that who reads the bucket can confirm no guess.
//
// All of a node's bytes go through it in each backup, also those that are not sent. Of
// chunks of 1 MiB a core with AVX2, as all of amd64 have since 2013, hashes 3000 MB/s
// with it. BLAKE2b does 900 there, HMAC-SHA256 1750, and only where the processor has
// SHA's instructions, as servers of Intel's have since Ice Lake. In pure Go, which is
// what arm64 gets, BLAKE3 does 430 on the same core and BLAKE2b 690: more than a core
// compresses. Another implementation, with AVX-512, is as quick on one core, and slower
// on two, for which it starts goroutines of its own.
type ID [32]byte

// String gives it in hexadecimal.
func (id ID) String() string { return hex.EncodeToString(id[:]) }

// MarshalText implements encoding.TextMarshaler.
func (id ID) MarshalText() ([]byte, error) { return []byte(id.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (id *ID) UnmarshalText(text []byte) error {
	b, err := hex.DecodeString(string(text))
	if err != nil || len(b) != len(id) {
		return fmt.Errorf("%q is no chunk's ID", text)
	}
	copy(id[:], b)
	return nil
}

// HashKey is the key of a repository's IDs.
type HashKey [32]byte

// IDOf names a chunk.
func (k HashKey) IDOf(plain []byte) ID {
	h, err := blake3.NewKeyed(k[:])
	if err != nil {
		panic(err) // a key of 32 bytes is never of another length
	}
	_, _ = h.Write(plain)
	var id ID
	h.Sum(id[:0])
	return id
}

// Is compares in constant time.
func (id ID) Is(other ID) bool { return subtle.ConstantTimeCompare(id[:], other[:]) == 1 }

// Piece is a run of a file's bytes.
type Piece struct {
	ID ID
	// Length in plain bytes.
	Length int64
}

// Chunk is a piece, and where it lies in the repository.
type Chunk struct {
	Piece
	// Pack it is in, from byte Offset on, Stored bytes long as it was compressed and
	// sealed.
	Pack           string
	Offset, Stored int64
}

// Meta is all of a file but its content.
type Meta struct {
	// Path with slashes, beginning with Data or Config.
	Path string
	// Size in bytes: how long it was at the cut.
	Size int64
	// Mode are the permission bits, UID and GID its owner.
	Mode     uint32
	UID, GID int
}

// View tells whether it is the index of a view. CouchDB makes such a file anew, and
// may cut it short; one that can not be copied whole is left out. No other file ever is.
func (m Meta) View() bool { return strings.HasSuffix(m.Path, ".view") }

// File is a file in a repository.
type File struct {
	Meta
	// Chunks in their order; their lengths add up to Size.
	Chunks []Chunk
}

// Tree is one node's files at one cut.
type Tree struct {
	// Node is the value of cht.service.
	Node string
	// Files sorted by path.
	Files []File
	// Dropped are the paths of views that were left out.
	Dropped []string
}

// Size is the sum of the files' sizes, in bytes.
func (t Tree) Size() int64 {
	var n int64
	for _, f := range t.Files {
		n += f.Size
	}
	return n
}
