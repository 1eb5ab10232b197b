package node

import (
	"errors"

	"golang.org/x/crypto/blake2b"
	"golang.org/x/sys/unix"
)

// tail is what the last bytes of a view were. When CouchDB makes an index anew it cuts
// the file short in place and writes it from its beginning: once it has grown again its
// length does not tell any more, and it would be an index that is newer than its shard.
// Its last bytes tell.
type tail struct {
	end int64
	sum [blake2b.Size256]byte
}

// tailLength is how many bytes are compared. CouchDB ends each write to an index with a
// header, in a block of that size.
const tailLength = 4096

// tailOf reads the last bytes before end.
func tailOf(fd int, end int64) (tail, error) {
	var room [tailLength]byte
	from := max(0, end-tailLength)
	b := room[:end-from]
	for n := 0; n < len(b); {
		k, err := unix.Pread(fd, b[n:], from+int64(n))
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return tail{}, err
		}
		if k == 0 {
			b = b[:n] // cut short meanwhile: these bytes are compared with nothing like them
			break
		}
		n += k
	}
	return tail{end, blake2b.Sum256(b)}, nil
}
