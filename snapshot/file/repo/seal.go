package repo

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"filippo.io/age"
	"github.com/klauspost/compress/zstd"
	"golang.org/x/crypto/blake2b"
)

// sealMark begins whatever age has sealed.
const sealMark = "age-encryption.org/"

// sealOverhead is more than sealing to one recipient adds to a chunk, in bytes, but for
// the 16 of each 64 KiB.
const sealOverhead = 256

// maxUnpacked bounds what a list, a tree's head or a trailer unpacks to, in bytes.
const maxUnpacked = 64 << 20

// Both may be used by many at once.
var (
	packer, _   = zstd.NewWriter(nil, zstd.WithEncoderConcurrency(2), zstd.WithWindowSize(1<<20))
	unpacker, _ = zstd.NewReader(nil, zstd.WithDecoderConcurrency(2), zstd.WithDecoderMaxMemory(maxUnpacked))
)

// seal encrypts for the repository's own recipient.
func (r *Repository) seal(plain []byte) ([]byte, error) {
	return r.sealTo(make([]byte, r.sealedLength(len(plain))), plain)
}

// sealedLength is how long that many bytes become: a header, and a tag for each 64 KiB.
func (r *Repository) sealedLength(n int) int {
	if r.options.Unsealed {
		return n
	}
	const part, tag = 64 << 10, 16
	return r.sealedNothing + n + tag*(max(0, n-1)/part)
}

// sealTo seals into a room of just the length that is needed, and gives it.
func (r *Repository) sealTo(room, plain []byte) ([]byte, error) {
	if r.options.Unsealed {
		copy(room, plain)
		return room, nil
	}
	sealed := bytes.NewBuffer(room[:0:len(room)])
	if err := sealInto(sealed, r.key.identity.Recipient(), plain); err != nil {
		return nil, err
	}
	if sealed.Len() != len(room) {
		return nil, fmt.Errorf("seal: %d bytes have become %d, and not %d", len(plain), sealed.Len(), len(room))
	}
	return room, nil
}

func sealInto(sealed *bytes.Buffer, to age.Recipient, plain []byte) error {
	w, err := age.Encrypt(sealed, to)
	if err != nil {
		return fmt.Errorf("seal: %w", err)
	}
	_, err = w.Write(plain)
	if err := errors.Join(err, w.Close()); err != nil {
		return fmt.Errorf("seal: %w", err)
	}
	return nil
}

// unseal opens what seal gave.
func (r *Repository) unseal(sealed []byte) ([]byte, error) {
	return r.unsealTo(nil, sealed)
}

// unsealTo unseals into a room; where that has no space, into one of its own.
func (r *Repository) unsealTo(room, sealed []byte) ([]byte, error) {
	if !bytes.HasPrefix(sealed, []byte(sealMark)) {
		if r.options.Unsealed {
			return sealed, nil
		}
		return nil, errors.New("it is not sealed, or damaged")
	}
	opened, err := age.Decrypt(bytes.NewReader(sealed), r.key.identity)
	if err != nil {
		return nil, fmt.Errorf("it is damaged, or sealed with another key: %w", err)
	}
	if cap(room) < len(sealed) {
		room = make([]byte, 0, len(sealed))
	}
	plain := bytes.NewBuffer(room[:0])
	if _, err := io.Copy(plain, opened); err != nil {
		return nil, fmt.Errorf("it is damaged: %w", err)
	}
	return plain.Bytes(), nil
}

// mac shows that a text is ours, and belongs under that key: neither can somebody who
// learned the recipient make one, nor can one be put in another's place.
func (k Key) mac(key string, text []byte) [blake2b.Size256]byte {
	h, err := blake2b.New256(k.macKey[:])
	if err != nil {
		panic(err) // a key of 32 bytes is never too long
	}
	var length [8]byte
	binary.BigEndian.PutUint64(length[:], uint64(len(key)))
	_, _ = h.Write(length[:])
	_, _ = io.WriteString(h, key)
	_, _ = h.Write(text)
	var sum [blake2b.Size256]byte
	h.Sum(sum[:0])
	return sum
}

// sign packs a text, shows that it is ours, and seals it.
func (r *Repository) sign(key string, text []byte) ([]byte, error) {
	packed := packer.EncodeAll(text, make([]byte, blake2b.Size256, blake2b.Size256+len(text)/2+64))
	sum := r.key.mac(key, packed[blake2b.Size256:])
	copy(packed, sum[:])
	return r.seal(packed)
}

// verify opens what sign gave for that key. Nothing is unpacked that is not ours.
func (r *Repository) verify(key string, sealed []byte) ([]byte, error) {
	packed, err := r.unseal(sealed)
	if err != nil {
		return nil, err
	}
	if len(packed) < blake2b.Size256 {
		return nil, errors.New("it is too short")
	}
	sum := r.key.mac(key, packed[blake2b.Size256:])
	if !same(sum[:], packed[:blake2b.Size256]) {
		return nil, errors.New("it was not written with this repository's key, or for another place in it")
	}
	text, err := unpacker.DecodeAll(packed[blake2b.Size256:], nil)
	if err != nil {
		return nil, fmt.Errorf("unpack: %w", err)
	}
	return text, nil
}
