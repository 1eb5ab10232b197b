package node

import (
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"net/http"
	"strconv"
	"strings"
)

// position is how far a shard was read, in the lineage of one file. Tokens carry
// ranges and file ids: they stay good when nodes get other names.
type position struct {
	seq  uint64
	uuid string // first hex digits of the file's id
}

const uuidDigits = 16

// token writes positions as "SUM-opaque".
func (m *shardMap) token(pos []position) string {
	var nodes []string
	index := map[string]int{}
	var sum uint64
	b := make([]byte, 0, 24*len(pos))
	for i, s := range m.shards {
		if _, ok := index[s.Node]; !ok {
			index[s.Node] = len(nodes)
			nodes = append(nodes, s.Node)
		}
		sum += pos[i].seq
		b = binary.BigEndian.AppendUint32(b, s.begin)
		b = append(b, byte(index[s.Node]))
		id, _ := hex.DecodeString((pos[i].uuid + strings.Repeat("0", uuidDigits))[:uuidDigits])
		b = append(b, id...)
		b = binary.AppendUvarint(b, pos[i].seq)
	}
	head := strings.Join(nodes, ",") + "\x00"
	return strconv.FormatUint(sum, 10) + "-" + base64.RawURLEncoding.EncodeToString(append([]byte(head), b...))
}

// positions reads a token; ranges it does not name start at zero.
func (m *shardMap) positions(since string) ([]position, error) {
	pos := make([]position, len(m.shards))
	if since == "" || since == "0" || since == "0-" {
		return pos, nil
	}
	bad := fail(http.StatusBadRequest, "bad_request", "Malformed sequence supplied in 'since' parameter.")
	_, opaque, ok := strings.Cut(strings.Trim(since, `"`), "-")
	raw, err := base64.RawURLEncoding.DecodeString(opaque)
	if !ok || err != nil {
		return nil, bad
	}
	_, rest, ok := strings.Cut(string(raw), "\x00")
	if !ok {
		return nil, bad
	}
	b := []byte(rest)
	for len(b) > 0 {
		if len(b) < 14 {
			return nil, bad
		}
		begin, id := binary.BigEndian.Uint32(b), hex.EncodeToString(b[5:13])
		seq, n := binary.Uvarint(b[13:])
		if n <= 0 {
			return nil, bad
		}
		b = b[13+n:]
		for i, s := range m.shards {
			if s.begin == begin {
				pos[i] = position{seq, id}
			}
		}
	}
	return pos, nil
}
