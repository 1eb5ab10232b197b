package shardfile

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"hash/crc32"
)

var magic = []byte{0xC0, 0xDB, 0x0A, 0x5D}

const frame = 16 // magic, length of meta, length of body, crc of both

type kind string

const (
	kindHeader kind = "h"
	kindDoc    kind = "d"
	kindLocal  kind = "l"
	kindAtt    kind = "a"
	kindProp   kind = "p"
)

// meta describes a record; what follows it in the file is the body.
type meta struct {
	K       kind     `json:"k"`
	ID      string   `json:"id,omitempty"`
	Seq     uint64   `json:"s,omitempty"`
	Pos     int      `json:"p,omitempty"`
	Path    []string `json:"r,omitempty"`
	Extends bool     `json:"x,omitempty"` // Path[0] goes on top of the leaf Path[1]
	Deleted bool     `json:"d,omitempty"`
	Atts    []Att    `json:"a,omitempty"`
	UUID    string   `json:"u,omitempty"`
}

// appendRecord adds a record to buf, which will land at base in the file, and
// returns where the body starts in the file.
func appendRecord(buf *bytes.Buffer, base int64, m meta, body []byte) (int64, error) {
	mj, err := json.Marshal(m)
	if err != nil {
		return 0, fmt.Errorf("encode record of %q: %w", m.ID, err)
	}
	var head [frame]byte
	copy(head[:], magic)
	binary.BigEndian.PutUint32(head[4:], uint32(len(mj)))
	binary.BigEndian.PutUint32(head[8:], uint32(len(body)))
	binary.BigEndian.PutUint32(head[12:], crc32.Update(crc32.ChecksumIEEE(mj), crc32.IEEETable, body))
	buf.Write(head[:])
	buf.Write(mj)
	off := base + int64(buf.Len())
	buf.Write(body)
	return off, nil
}

// scan calls fn for each intact record. After a torn one it goes on at the next
// intact one, since a restart appends behind a torn tail.
func scan(raw []byte, fn func(m meta, off int64, body []byte)) {
	for at := 0; at+frame <= len(raw); {
		m, bodyAt, end, ok := decode(raw, at)
		if !ok {
			next := bytes.Index(raw[at+1:], magic)
			if next < 0 {
				return
			}
			at += 1 + next
			continue
		}
		fn(m, int64(bodyAt), raw[bodyAt:end])
		at = end
	}
}

func decode(raw []byte, at int) (m meta, bodyAt, end int, ok bool) {
	if !bytes.HasPrefix(raw[at:], magic) {
		return m, 0, 0, false
	}
	ml := int(binary.BigEndian.Uint32(raw[at+4:]))
	bl := int(binary.BigEndian.Uint32(raw[at+8:]))
	bodyAt = at + frame + ml
	end = bodyAt + bl
	if end > len(raw) || crc32.ChecksumIEEE(raw[at+frame:end]) != binary.BigEndian.Uint32(raw[at+12:]) {
		return m, 0, 0, false
	}
	if json.Unmarshal(raw[at+frame:bodyAt], &m) != nil {
		return m, 0, 0, false
	}
	return m, bodyAt, end, true
}
