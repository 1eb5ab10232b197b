package repo

import (
	"bytes"
	"crypto/rand"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strings"

	"filippo.io/age"
	"golang.org/x/crypto/blake2b"

	"github.com/medic/cht-backup/snapshot/file/tree"
)

// keyBegin is the first line of a key's text.
const keyBegin = "cht-backup repository key 1"

// maxKeyText bounds a key's text, in bytes.
const maxKeyText = 4 << 10

// Key is the key of one repository. Who has it can read all that is in it, and write
// what restores will take for ours.
type Key struct {
	// identity opens what is sealed to the repository.
	identity *age.X25519Identity
	// hash is the key of the chunks' IDs. It alone may leave the controller.
	hash tree.HashKey
	// macKey is the key of what shows that trees and lists are ours: whoever learned the
	// recipient could seal some, too. It is made of the identity, since hash is known to
	// the pods beside CouchDB.
	macKey [32]byte
}

// NewKey makes one at random.
func NewKey() (Key, error) {
	identity, err := age.GenerateX25519Identity()
	if err != nil {
		return Key{}, fmt.Errorf("make a repository's key: %w", err)
	}
	var hash tree.HashKey
	if _, err := rand.Read(hash[:]); err != nil {
		return Key{}, fmt.Errorf("make a repository's key: %w", err)
	}
	return keyOf(identity, hash), nil
}

func keyOf(identity *age.X25519Identity, hash tree.HashKey) Key {
	k := Key{identity: identity, hash: hash}
	h, err := blake2b.New256(hash[:])
	if err != nil {
		panic(err) // a key of 32 bytes is never too long
	}
	_, _ = io.WriteString(h, "cht-backup repository mac 1\n"+identity.String())
	h.Sum(k.macKey[:0])
	return k
}

// ParseKey reads what Text gave. Its error repeats nothing of the text.
func ParseKey(text string) (Key, error) {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	if len(text) > maxKeyText || len(lines) != 3 || strings.TrimSpace(lines[0]) != keyBegin {
		return Key{}, fmt.Errorf("it is no key of a repository: expected three lines, of which the first is %q", keyBegin)
	}
	identity, err := age.ParseX25519Identity(strings.TrimSpace(lines[1]))
	if err != nil {
		return Key{}, errors.New("it is no key of a repository: its second line is no identity of age's")
	}
	var hash tree.HashKey
	raw, err := hex.DecodeString(strings.TrimSpace(lines[2]))
	if err != nil || len(raw) != len(hash) {
		return Key{}, fmt.Errorf("it is no key of a repository: its third line is not %d hexadecimal digits", 2*len(hash))
	}
	copy(hash[:], raw)
	return keyOf(identity, hash), nil
}

// Text is the key to be kept. It is a secret.
func (k Key) Text() string {
	return keyBegin + "\n" + k.identity.String() + "\n" + hex.EncodeToString(k.hash[:]) + "\n"
}

// String hides it from logs.
func (k Key) String() string { return "a repository's key" }

// GoString hides it, too.
func (k Key) GoString() string { return k.String() }

// HashKey is the key of the chunks' IDs.
func (k Key) HashKey() tree.HashKey { return k.hash }

// same compares in constant time.
func same(a, b []byte) bool { return subtle.ConstantTimeCompare(a, b) == 1 }

// Is tells whether it is the same key.
func (k Key) Is(other Key) bool {
	return k.identity != nil && other.identity != nil && same(k.macKey[:], other.macKey[:]) && same(k.hash[:], other.hash[:])
}

// Seal gives the key's text sealed to recipients.
func (k Key) Seal(recipients ...age.Recipient) ([]byte, error) {
	var sealed bytes.Buffer
	w, err := age.Encrypt(&sealed, recipients...)
	if err != nil {
		return nil, fmt.Errorf("seal a repository's key: %w", err)
	}
	_, err = io.WriteString(w, k.Text())
	if err := errors.Join(err, w.Close()); err != nil {
		return nil, fmt.Errorf("seal a repository's key: %w", err)
	}
	return sealed.Bytes(), nil
}

// unsealKey opens what Seal gave.
func unsealKey(sealed []byte, identities []age.Identity) (Key, error) {
	r, err := age.Decrypt(bytes.NewReader(sealed), identities...)
	if err != nil {
		return Key{}, err
	}
	text, err := io.ReadAll(io.LimitReader(r, maxKeyText+1))
	if err != nil {
		return Key{}, err
	}
	return ParseKey(string(text))
}
