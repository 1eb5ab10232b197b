package repo

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/medic/cht-backup/snapshot/file/transfer"
	"github.com/medic/cht-backup/snapshot/file/tree"
)

const (
	headFormat = 1
	// maxHead bounds a tree's head as it is stored, in bytes. A tree of 4 TiB has some 20
	// MiB.
	maxHead = 64 << 20
)

// head is the object of a tree. It is signed, and what it names is what is kept.
type head struct {
	Format int    `json:"format"`
	Name   string `json:"name"`
	// Packs that the tree needs, with their sizes in bytes.
	Packs []namedPack `json:"packs"`
	// Lists tell of the files.
	Lists []listed `json:"lists"`
	// Files, Chunks and Size are sums over them.
	Files  int   `json:"files"`
	Chunks int   `json:"chunks"`
	Size   int64 `json:"size"`
}

type namedPack struct {
	Name string `json:"n"`
	Size int64  `json:"s"`
}

type listed struct {
	ID     tree.ID `json:"id"`
	Length int64   `json:"l"`
	Pack   string  `json:"p"`
	Offset int64   `json:"o"`
	Stored int64   `json:"s"`
}

func (l listed) chunk() tree.Chunk {
	return tree.Chunk{Piece: tree.Piece{ID: l.ID, Length: l.Length}, Pack: l.Pack, Offset: l.Offset, Stored: l.Stored}
}

func (h head) check(name string) error {
	switch {
	case h.Format != headFormat:
		return fmt.Errorf("it has format %d, this version reads %d; use a newer cht-backup", h.Format, headFormat)
	case h.Name != name:
		return fmt.Errorf("it says that it is %.300q", h.Name)
	}
	seen := make(map[string]bool, len(h.Packs))
	for _, p := range h.Packs {
		if !packForm.MatchString(p.Name) || p.Size < 1 || p.Size > maxPack || seen[p.Name] {
			return fmt.Errorf("it names a pack %.80q", p.Name)
		}
		seen[p.Name] = true
	}
	for _, l := range h.Lists {
		if !seen[l.Pack] || l.Length < 1 || l.Length > maxList || l.Stored < 1 || l.Stored > maxPack || l.Offset < 0 || l.Offset > maxPack {
			return errors.New("it names a list that is in none of its packs")
		}
	}
	return nil
}

// Damaged is an object that is not as it was written.
type Damaged struct {
	// Key of the object.
	Key string
	Err error
}

func (d *Damaged) Error() string { return fmt.Sprintf("object %s: %v", d.Key, d.Err) }

// Unwrap gives the reason.
func (d *Damaged) Unwrap() error { return d.Err }

func (r *Repository) damaged(kind, name string, err error) error {
	return &Damaged{Key: r.at(kind, name), Err: err}
}

// head reads a tree's. ErrNotFound if there is none, a *Damaged if it is no good.
func (r *Repository) head(ctx context.Context, name string) (head, error) {
	key := r.at(treesIn, name)
	sealed, err := r.get(ctx, key, 0, maxHead)
	if err != nil {
		return head{}, fmt.Errorf("object %s: %w", key, err)
	}
	text, err := r.verify(key, sealed)
	var h head
	if err == nil {
		err = json.Unmarshal(text, &h)
	}
	if err == nil {
		err = h.check(name)
	}
	if err != nil {
		return head{}, r.damaged(treesIn, name, err)
	}
	return h, nil
}

// entries tells all that is in a tree's lists.
func (r *Repository) entries(ctx context.Context, h head, l *listReader) error {
	if l.names == nil {
		l.names = map[string]string{}
	}
	chunks := make([]tree.Chunk, len(h.Lists))
	for i, one := range h.Lists {
		chunks[i] = one.chunk()
	}
	known := make(map[string]int64, len(h.Packs))
	for _, p := range h.Packs {
		known[p.Name] = p.Size
	}
	tell := l.chunk
	l.chunk = func(c tree.Chunk) error {
		if size, ok := known[c.Pack]; !ok || c.Offset+c.Stored > size {
			return fmt.Errorf("it names a chunk in pack %s, which is not among its packs, or not so long", c.Pack)
		}
		return tell(c)
	}
	var reason error
	err := r.Read(ctx, chunks, func(f transfer.Frame) error {
		var text []byte
		if text, reason = r.plain(f); reason == nil {
			reason = l.read(text)
		}
		return reason
	})
	if err != nil && reason == nil {
		return err // names the pack
	}
	if reason == nil {
		reason = l.whole()
	}
	if reason == nil && (l.files != h.Files || l.chunks != h.Chunks || l.size != h.Size) {
		reason = errors.New("its lists do not tell of as much as it says")
	}
	if reason != nil {
		return r.damaged(treesIn, h.Name, reason)
	}
	return nil
}

// Tree reads one node's tree.
func (r *Repository) Tree(ctx context.Context, name string) (tree.Tree, error) {
	parsed, err := ParseTreeName(name)
	if err != nil {
		return tree.Tree{}, err
	}
	h, err := r.head(ctx, name)
	if err != nil {
		return tree.Tree{}, err
	}
	t := tree.Tree{Node: parsed.Node, Files: make([]tree.File, 0, min(h.Files, maxFiles))}
	err = r.entries(ctx, h, &listReader{
		file: func(m tree.Meta) error {
			t.Files = append(t.Files, tree.File{Meta: m})
			return nil
		},
		chunk: func(c tree.Chunk) error {
			f := &t.Files[len(t.Files)-1]
			f.Chunks = append(f.Chunks, c)
			return nil
		},
		dropped: func(path string) { t.Dropped = append(t.Dropped, path) },
	})
	if err != nil {
		return tree.Tree{}, fmt.Errorf("tree %s: %w", name, err)
	}
	for i := range t.Files {
		t.Files[i].Chunks = slices.Clip(t.Files[i].Chunks)
	}
	return t, nil
}

// Trees gives the names of all trees, in the order of their times.
func (r *Repository) Trees(ctx context.Context) ([]TreeName, error) {
	prefix := r.at(treesIn, "")
	var names []TreeName
	err := r.list(ctx, prefix, func(o Object) error {
		if n, err := ParseTreeName(strings.TrimPrefix(o.Key, prefix)); err == nil {
			names = append(names, n)
		}
		return nil
	}, func() { names = nil })
	if err != nil {
		return nil, fmt.Errorf("list the trees: %w", err)
	}
	return names, nil
}

// DeleteTree deletes a tree. One that is gone is good. ErrKept if the store refuses: then
// it stays, as does what it needs.
func (r *Repository) DeleteTree(ctx context.Context, name string) error {
	if _, err := ParseTreeName(name); err != nil {
		return err
	}
	if err := r.drop(ctx, r.at(treesIn, name)); err != nil {
		return fmt.Errorf("delete object %s: %w", r.at(treesIn, name), err)
	}
	return nil
}
