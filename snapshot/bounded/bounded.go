package bounded

import (
	"errors"
	"fmt"
	"io"
)

// Limits of one JSON text. Each value may take some hundred bytes of memory for two of
// JSON.
type Limits struct {
	// Bytes, nesting and values at most; a stream alone has a bound of bytes.
	Bytes  int64
	Depth  int
	Values int
}

// scan counts what went through it.
type scan struct {
	inString, escaped bool
	level, count      int
}

func (s *scan) next(text []byte, depth, values int) error {
	for _, c := range text {
		switch {
		case s.escaped:
			s.escaped = false
		case s.inString:
			s.escaped, s.inString = c == '\\', c != '"'
		case c == '"':
			s.inString = true
		case c == '{' || c == '[':
			s.level++
			s.count++
		case c == '}' || c == ']':
			s.level--
		case c == ',':
			s.count++
		}
		if s.level > depth {
			return fmt.Errorf("its JSON is nested deeper than %d, as none of ours is", depth)
		}
		if s.count > values {
			return fmt.Errorf("its JSON has more than %d values, as none of ours has", values)
		}
	}
	return nil
}

// Text refuses a text that is nested too deep or has too many values.
func Text(text []byte, depth, values int) error {
	s := scan{count: 1}
	return s.next(text, depth, values)
}

// Reader gives what r gives, until it breaks a limit.
func Reader(r io.Reader, limits Limits) io.Reader {
	return &reader{in: r, left: limits.Bytes, limits: limits, scan: scan{count: 1}}
}

type reader struct {
	in     io.Reader
	left   int64
	limits Limits
	scan   scan
	failed error
}

func (r *reader) Read(b []byte) (int, error) {
	if r.failed != nil {
		return 0, r.failed
	}
	n, err := r.in.Read(b)
	if r.left -= int64(n); r.left < 0 {
		r.failed = fmt.Errorf("%w: it has more than %d bytes", ErrTooMuch, r.limits.Bytes)
		return 0, r.failed
	}
	if said := r.scan.next(b[:n], r.limits.Depth, r.limits.Values); said != nil {
		r.failed = fmt.Errorf("%w: %w", ErrTooMuch, said)
		return 0, r.failed
	}
	return n, err
}

// ErrTooMuch is the error of a stream that breaks a limit. Reading it again does not help.
var ErrTooMuch = errors.New("refused, since it would fill the memory")
