package tree

import (
	"testing"

	"golang.org/x/crypto/blake2b"
)

// Who reads a bucket, and not its key, can confirm no guess of what a chunk holds: by no
// digest that he could make himself, nor by one of another repository's.
func TestNamesAreKeyed(t *testing.T) {
	guess := []byte(`{"_id":"org.couchdb.user:nurse","roles":["chw"]}`)
	one, other := HashKey{1}, HashKey{2}
	if again := one; one.IDOf(guess) != again.IDOf(guess) {
		t.Error("a chunk has two names: nothing would ever be found again")
	}
	if one.IDOf(guess) == other.IDOf(guess) || one.IDOf(guess) == ID(blake2b.Sum256(guess)) || one.IDOf(guess) == (HashKey{}).IDOf(guess) {
		t.Error("a chunk's name confirms a guess without the key")
	}
}
