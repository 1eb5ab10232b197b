package bucket

import (
	"bytes"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
)

// What is written past the page cache is what was given, whatever its length, and
// wherever in memory it lies.
func TestLargeObjects(t *testing.T) {
	random := rand.NewChaCha8([32]byte{1})
	for _, length := range []int{1<<20 - 1, 1 << 20, 1<<20 + 1, 3<<20 + 4095, 8 << 20} {
		for _, from := range []int{0, 1, 512} {
			room := make([]byte, from+length)
			_, _ = random.Read(room)
			data := room[from:]
			path := filepath.Join(t.TempDir(), "object")
			if err := writeWhole(path, data, true); err != nil {
				t.Fatal(err)
			}
			got, err := os.ReadFile(path)
			if err != nil || !bytes.Equal(got, data) {
				t.Errorf("%d bytes at %d: %d came back, %v", length, from, len(got), err)
			}
		}
	}
}
