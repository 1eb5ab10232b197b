package tree

import (
	"testing"

	"github.com/zeebo/blake3"
)

// IDs are in buckets for years: they stay what they were, whatever computes them. The
// digests are those that two implementations agree on, this one and lukechampine.com's.
func TestIDOf(t *testing.T) {
	var key HashKey
	for i := range key {
		key[i] = byte(i)
	}
	for length, want := range map[int]string{
		1:         "d08b45c6b127ee94f3f8527a0b82a5f80be1695a0eaec6022e772c0eb95a7e8b",
		1024:      "afbfb7b5970a8dd0404d479c59a97f9f42edbc90c438b7f2ac5fefaccc35a284",
		4097:      "1b3f902a195d9113b06e5c05f36c1d1fc34f6ab2f88cb02f1ec6dfa8271ea4c3",
		8193:      "119f09ea32e76341c0b0fa5836f2aa1f87ee046bf90e3e1b7f8cbc103ed0251a",
		100_000:   "066057e619d4966d6ded4d73a4da21af784dbe53eb6ed82e63077451fdcc0c49",
		1 << 20:   "7e120c773992522c7e4a33cd28cc25617f20a7e27540c81b725610e435f449c7",
		1<<20 + 1: "3420cc595eaee40a5ec606da4b8ea2871012b0b1fa0c78fb8f66793055342249",
	} {
		plain := make([]byte, length)
		for i := range plain {
			plain[i] = byte(i*i>>8 ^ i)
		}
		if got := key.IDOf(plain).String(); got != want {
			t.Errorf("%d bytes: %s, not %s", length, got, want)
		}
	}
	if other := (HashKey{}).IDOf([]byte{0}); other.Is(key.IDOf([]byte{0})) {
		t.Error("the key does not matter")
	}
}

// Who reads a bucket, and not its key, can confirm no guess of what a chunk holds: by no
// digest that he could make himself, nor by one of another repository's.
func TestNamesAreKeyed(t *testing.T) {
	guess := []byte(`{"_id":"org.couchdb.user:nurse","roles":["chw"]}`)
	one, other := HashKey{1}, HashKey{2}
	if again := one; one.IDOf(guess) != again.IDOf(guess) {
		t.Error("a chunk has two names: nothing would ever be found again")
	}
	if one.IDOf(guess) == other.IDOf(guess) || one.IDOf(guess) == ID(blake3.Sum256(guess)) || one.IDOf(guess) == (HashKey{}).IDOf(guess) {
		t.Error("a chunk's name confirms a guess without the key")
	}
}
