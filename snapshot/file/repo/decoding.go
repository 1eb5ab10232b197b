package repo

import "encoding/binary"

// decoding reads numbers and texts off bytes. After the first that is not there, or too
// large, failed is set and all that follows is nothing.
type decoding struct {
	left   []byte
	failed bool
}

// number of at most most.
func (d *decoding) number(most uint64) uint64 {
	v, n := binary.Uvarint(d.left)
	if d.failed || n <= 0 || v > most {
		d.failed = true
		return 0
	}
	d.left = d.left[n:]
	return v
}

// bytes gives the next n.
func (d *decoding) bytes(n int) []byte {
	if d.failed || n < 0 || n > len(d.left) {
		d.failed = true
		return nil
	}
	b := d.left[:n]
	d.left = d.left[n:]
	return b
}

// text that its length stands before.
func (d *decoding) text(most uint64) string { return string(d.bytes(int(d.number(most)))) } //nolint:gosec // bounded

func appendText(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}
