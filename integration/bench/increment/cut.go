package main

import (
	"bufio"
	"errors"
	"io"
	"math/bits"
	"math/rand/v2"
)

// cutter cuts a stream into chunks and yields each, valid until the next.
type cutter func(r io.Reader, yield func(chunk []byte)) error

// fixed cuts at every multiple of size.
func fixed(size int) cutter {
	return func(r io.Reader, yield func([]byte)) error {
		buf := make([]byte, size)
		for {
			n, err := io.ReadFull(r, buf)
			if n > 0 {
				yield(buf[:n])
			}
			switch {
			case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
				return nil
			case err != nil:
				return err
			}
		}
	}
}

// gear are the values that the rolling hash adds, one for each byte.
var gear = func() (table [256]uint64) {
	r := rand.New(rand.NewPCG(1, 2))
	for i := range table {
		table[i] = r.Uint64()
	}
	return table
}()

// content cuts where the last bytes' hash has a run of zeros: on average at size, never
// before a quarter of it and never after four times of it. Below size the run is longer
// than above it, so that most chunks are near to size.
func content(size int) cutter {
	n := bits.Len(uint(size)) - 1
	hard, easy := top(n+2), top(n-2)
	return func(r io.Reader, yield func([]byte)) error {
		in := bufio.NewReaderSize(r, 1<<20)
		chunk := make([]byte, 0, 4*size)
		var h uint64
		for {
			b, err := in.ReadByte()
			if errors.Is(err, io.EOF) {
				if len(chunk) > 0 {
					yield(chunk)
				}
				return nil
			}
			if err != nil {
				return err
			}
			chunk = append(chunk, b)
			h = h<<1 + gear[b]
			mask := hard
			if len(chunk) > size {
				mask = easy
			}
			if len(chunk) >= size/4 && h&mask == 0 || len(chunk) == 4*size {
				yield(chunk)
				chunk, h = chunk[:0], 0
			}
		}
	}
}

// top is a mask of the n highest bits: all of the last 64 bytes reach them.
func top(n int) uint64 { return ^uint64(0) << (64 - n) }

// block is what CouchDB's files are made of: the first byte of each tells whether it
// begins with a header, and is no part of what is stored.
const block = 4096

// unmarked reads a CouchDB file without the first byte of each block.
type unmarked struct {
	r  *bufio.Reader
	at int64
}

func newUnmarked(r io.Reader) io.Reader { return &unmarked{r: bufio.NewReaderSize(r, 1<<20)} }

func (u *unmarked) Read(p []byte) (int, error) {
	if u.at%block == 0 {
		if _, err := u.r.ReadByte(); err != nil {
			return 0, err
		}
		u.at++
	}
	n, err := u.r.Read(p[:min(int64(len(p)), block-u.at%block)])
	u.at += int64(n)
	return n, err
}
