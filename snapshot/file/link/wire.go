package link

import (
	"bufio"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/medic/cht-backup/snapshot/file/node"
	"github.com/medic/cht-backup/snapshot/file/transfer"
	"github.com/medic/cht-backup/snapshot/file/tree"
)

// problem is an error on its way. Its code says which of those it is that the receiver
// has to know.
type problem struct {
	Code string `json:"code,omitempty"`
	Text string `json:"text"`
}

var codes = map[string]error{
	"short":          transfer.ErrShort,
	"let-go":         node.ErrLetGo,
	"not-measured":   node.ErrNotMeasured,
	"no-space":       node.ErrNoSpace,
	"too-many-files": node.ErrTooManyFiles,
}

func problemOf(err error) *problem {
	if err == nil {
		return nil
	}
	p := &problem{Text: err.Error()}
	for code, known := range codes {
		if errors.Is(err, known) {
			p.Code = code
		}
	}
	return p
}

// told is a problem that the other end has told.
type told struct{ problem }

func (t *told) Error() string { return t.Text }
func (t *told) Unwrap() error { return codes[t.Code] }

func (p *problem) err() error {
	if p == nil {
		return nil
	}
	return &told{*p}
}

// reply is what a call gives.
type reply[T any] struct {
	Value   T        `json:"value"`
	Problem *problem `json:"problem,omitempty"`
}

// A stream of frames: each begins with what it is. What ends without an end was cut off.
const (
	isFrame   = 'F'
	isEnd     = 'E'
	isProblem = 'X'
	// mostData bounds a frame's data: one that can not be compressed is a little longer.
	mostData = node.MaxChunk + 64<<10
	// mostProblem bounds the text of a problem.
	mostProblem = 64 << 10
)

// writeFrame writes one, and gives its room back.
func writeFrame(w io.Writer, f transfer.Frame) error {
	if f.Length < 0 || f.Length > node.MaxChunk || len(f.Data) > mostData {
		return fmt.Errorf("a chunk of %d bytes is too large", f.Length)
	}
	head := make([]byte, 0, 1+len(f.ID)+8)
	head = append(append(head, isFrame), f.ID[:]...)
	head = binary.BigEndian.AppendUint32(head, uint32(f.Length))
	head = binary.BigEndian.AppendUint32(head, uint32(len(f.Data))) //nolint:gosec // bounded above
	if _, err := w.Write(head); err != nil {
		return err
	}
	_, err := w.Write(f.Data)
	f.Room.Back()
	return err
}

// writeEnd ends a stream, with a problem if there is one.
func writeEnd(w io.Writer, failed error) error {
	if failed == nil {
		_, err := w.Write([]byte{isEnd})
		return err
	}
	text, err := json.Marshal(problemOf(failed))
	if err != nil {
		return err
	}
	if len(text) > mostProblem {
		text = []byte(`{"text":"it failed, and its reason is too long to be told"}`)
	}
	_, err = w.Write(append(binary.BigEndian.AppendUint32([]byte{isProblem}, uint32(len(text))), text...)) //nolint:gosec // bounded above
	return err
}

// readFrame gives the next frame, io.EOF at the end, or the problem that ended it.
func readFrame(r *bufio.Reader) (f transfer.Frame, err error) {
	what, err := r.ReadByte()
	if err != nil {
		return f, cutOff(err)
	}
	switch what {
	case isEnd:
		return f, io.EOF
	case isProblem:
		var length uint32
		if err := binary.Read(r, binary.BigEndian, &length); err != nil {
			return f, cutOff(err)
		}
		text := make([]byte, min(length, mostProblem))
		if _, err := io.ReadFull(r, text); err != nil {
			return f, cutOff(err)
		}
		var p problem
		if err := json.Unmarshal(text, &p); err != nil {
			return f, fmt.Errorf("read what the other end says: %w", err)
		}
		return f, p.err()
	case isFrame:
	default:
		return f, fmt.Errorf("the stream has %q where a chunk begins", what)
	}
	var head [len(f.ID) + 8]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return f, cutOff(err)
	}
	copy(f.ID[:], head[:])
	f.Length = int64(binary.BigEndian.Uint32(head[len(f.ID):]))
	data := binary.BigEndian.Uint32(head[len(f.ID)+4:])
	if f.Length > node.MaxChunk || data > mostData {
		return f, fmt.Errorf("a chunk of %d bytes, %d on the way, is too large", f.Length, data)
	}
	f.Room = transfer.NewRoom()
	f.Data = f.Room.Space(int(data))
	_, err = io.ReadFull(r, f.Data)
	return f, cutOff(err)
}

// cutOff says of the end of the input that it is none of the stream's.
func cutOff(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

const pieceLength = len(tree.ID{}) + 8

func writePieces(pieces []tree.Piece) []byte {
	b := make([]byte, 0, len(pieces)*pieceLength)
	for _, p := range pieces {
		b = binary.BigEndian.AppendUint64(append(b, p.ID[:]...), uint64(p.Length)) //nolint:gosec // read back as it is
	}
	return b
}

func readPieces(b []byte) ([]tree.Piece, error) {
	if len(b)%pieceLength != 0 {
		return nil, errors.New("the list of chunks is cut off")
	}
	pieces := make([]tree.Piece, len(b)/pieceLength)
	for i := range pieces {
		one := b[i*pieceLength:]
		copy(pieces[i].ID[:], one)
		pieces[i].Length = int64(binary.BigEndian.Uint64(one[len(tree.ID{}):])) //nolint:gosec // checked by who takes it
	}
	return pieces, nil
}

const (
	keyHeader      = "Cht-Hash-Key"
	deadlineHeader = "Cht-Within-Ms"
)

func keyText(k tree.HashKey) string { return base64.StdEncoding.EncodeToString(k[:]) }

func parseKey(text string) (k tree.HashKey, err error) {
	b, err := base64.StdEncoding.DecodeString(text)
	if err != nil || len(b) != len(k) {
		return k, errors.New("the request has no key for the chunks' IDs")
	}
	copy(k[:], b)
	return k, nil
}
