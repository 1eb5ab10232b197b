package podexec

import (
	"strings"
	"sync"
)

// longest is how much of an error output is told, in bytes.
const longest = 1024

// Tail keeps the last bytes written to it, for an error message: a container that is not
// ours may write as much as it likes.
type Tail struct {
	mu  sync.Mutex
	buf []byte
}

// Write implements io.Writer.
func (t *Tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.buf = append(t.buf, p[max(0, len(p)-longest):]...)
	if over := len(t.buf) - longest; over > 0 {
		t.buf = append(t.buf[:0], t.buf[over:]...)
	}
	return len(p), nil
}

// String gives them, without blanks around them.
func (t *Tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return strings.TrimSpace(string(t.buf))
}
