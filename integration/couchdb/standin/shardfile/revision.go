package shardfile

import (
	"crypto/md5"
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Att is an attachment as the file knows it.
type Att struct {
	Name   string `json:"n"`
	Type   string `json:"t"`
	Digest string `json:"g"`
	RevPos int    `json:"v"`
	Len    int64  `json:"l"`
	Off    int64  `json:"o"`
}

// Leaf is a newest revision with the revisions it came from, newest first.
type Leaf struct {
	Pos     int
	Path    []string
	Deleted bool
	Atts    []Att
	off     int64
	size    int
}

// Rev is the leaf's revision as clients see it.
func (l *Leaf) Rev() string { return strconv.Itoa(l.Pos) + "-" + l.Path[0] }

// Doc is an immutable state of a document.
type Doc struct {
	ID     string
	Seq    uint64
	Leaves []*Leaf // winner first
	h      *handle
}

// Winner is the leaf shown when no revision is asked for.
func (d *Doc) Winner() *Leaf { return d.Leaves[0] }

// Leaf finds the leaf with this revision.
func (d *Doc) Leaf(rev string) *Leaf {
	for _, l := range d.Leaves {
		if l.Rev() == rev {
			return l
		}
	}
	return nil
}

func sortLeaves(ls []*Leaf) {
	slices.SortFunc(ls, func(a, b *Leaf) int {
		if a.Deleted != b.Deleted {
			if a.Deleted {
				return 1
			}
			return -1
		}
		if a.Pos != b.Pos {
			return b.Pos - a.Pos
		}
		return strings.Compare(b.Path[0], a.Path[0])
	})
}

// knows says whether revision pos-id is in the leaf's history.
func (l *Leaf) knows(pos int, id string) bool {
	i := l.Pos - pos
	return i >= 0 && i < len(l.Path) && l.Path[i] == id
}

// ParseRev splits "3-abc".
func ParseRev(rev string) (pos int, id string, err error) {
	n, id, ok := strings.Cut(rev, "-")
	pos, err = strconv.Atoi(n)
	if !ok || err != nil || id == "" || pos < 0 {
		return 0, "", fmt.Errorf("invalid rev format %q", rev)
	}
	return pos, id, nil
}

// newRevID derives a revision from content and parent, so that the same edit on
// two nodes (each node's own entry in _nodes) is the same revision, no conflict.
func newRevID(e *Edit, parent string, atts []Att) string {
	h := md5.New()
	fmt.Fprintf(h, "%t %s %s", e.Deleted, parent, e.Body) //nolint:errcheck // a hash never fails
	for _, a := range atts {
		fmt.Fprintf(h, " %s %s %s", a.Name, a.Type, a.Digest) //nolint:errcheck
	}
	return hex.EncodeToString(h.Sum(nil))
}
