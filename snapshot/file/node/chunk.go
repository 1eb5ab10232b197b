package node

import (
	"encoding/binary"

	"github.com/klauspost/compress/zstd"
)

const (
	// ChunkSize is how many bytes of a file go into one chunk. Smaller ones, and ones whose
	// ends the content decides, were measured (integration/bench/increment): they send no
	// less, neither of files that have grown nor of compacted ones, in which CouchDB's own
	// block markers lie elsewhere between the same documents.
	ChunkSize = 1 << 20
	// MaxChunk bounds what a chunk of anyone's may be.
	MaxChunk = 16 << 20
)

// chunkAt is how long the chunk is that begins there, in a file of that size. Chunks end
// at multiples of ChunkSize wherever the first begins, so that what follows a fragment has
// the ends that it would have had without it.
func chunkAt(at, size int64) int64 { return min(ChunkSize-at%ChunkSize, size-at) }

// Compression of frames.
type Compression int

const (
	// CompressionOn is how frames are made.
	CompressionOn Compression = iota
	// CompressionOff makes frames that zstd reads and nothing is saved in: for
	// measurements.
	CompressionOff
)

// encoder is shared: each EncodeAll takes one of its states, whose memory is bounded by
// a chunk. CouchDB has compressed its documents already: the next level saves 2% more of
// a shard's file.
var encoder, _ = zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithWindowSize(ChunkSize), zstd.WithEncoderCRC(false))

// Frame compresses a chunk, and appends it to room.
func (c Compression) Frame(plain, room []byte) []byte {
	if c == CompressionOff {
		return stored(plain, room)
	}
	return encoder.EncodeAll(plain, room)
}

// stored makes a frame of zstd that has its content as it is: header, then blocks of the
// type raw.
func stored(plain, out []byte) []byte {
	const most = 128 << 10                                          // of a block
	out = append(out, 0x28, 0xB5, 0x2F, 0xFD)                       // magic
	out = append(out, 0b10100000)                                   // one segment, its size in four bytes
	out = binary.LittleEndian.AppendUint32(out, uint32(len(plain))) //nolint:gosec // at most MaxChunk
	for {
		block := plain[:min(most, len(plain))]
		plain = plain[len(block):]
		head := uint32(len(block)) << 3 //nolint:gosec // at most a block
		if len(plain) == 0 {
			head |= 1 // the last
		}
		out = append(out, byte(head), byte(head>>8), byte(head>>16))
		out = append(out, block...)
		if len(plain) == 0 {
			return out
		}
	}
}

var decoder, _ = zstd.NewReader(nil, zstd.WithDecoderMaxMemory(MaxChunk), zstd.WithDecoderConcurrency(0))
