package ec2

import (
	"iter"
	"slices"
	"strings"
)

// shelf holds a Region's snapshots so that 100,000 of them can be asked for by tag,
// by volume or page by page without looking at each: its lists keep what is gone or
// no longer matches until they are read and found to be mostly that.
type shelf struct {
	rows  []*snapshot            // in the order they were made
	index map[string][]*snapshot // by volume, and by tag
	count map[string]int         // by account
	gone  int
}

func byTag(t Tag) string        { return "t\x00" + t.Key + "\x00" + t.Value }
func byVolume(id string) string { return "v\x00" + id }

func (h *shelf) put(s *snapshot) {
	h.rows = append(h.rows, s)
	h.count[s.Account]++
	h.enter(byVolume(s.VolumeID), s)
	for _, t := range s.tags {
		h.enter(byTag(t), s)
	}
}

func (h *shelf) enter(key string, s *snapshot) { h.index[key] = append(h.index[key], s) }

// leave takes s off a list, if the list is short enough to look.
func (h *shelf) leave(key string, s *snapshot) {
	list := h.index[key]
	if len(list) > 64 {
		return // swept when it is read
	}
	if i := slices.Index(list, s); i >= 0 {
		list = slices.Delete(list, i, i+1)
	}
	if len(list) == 0 {
		delete(h.index, key)
		return
	}
	h.index[key] = list
}

func (h *shelf) drop(s *snapshot) {
	s.gone = true
	h.count[s.Account]--
	h.leave(byVolume(s.VolumeID), s)
	for _, t := range s.tags {
		h.leave(byTag(t), s)
	}
	if h.gone++; h.gone > 1024 && h.gone > len(h.rows)/2 {
		h.rows = slices.DeleteFunc(h.rows, func(s *snapshot) bool { return s.gone })
		h.gone = 0
	}
}

func (h *shelf) retag(s *snapshot, tags []Tag) {
	for _, t := range s.tags {
		if !slices.Contains(tags, t) {
			h.leave(byTag(t), s)
		}
	}
	old := s.tags
	s.tags = tags
	for _, t := range tags {
		if !slices.Contains(old, t) {
			h.enter(byTag(t), s)
		}
	}
}

// all yields what is there, oldest first.
func (h *shelf) all() iter.Seq[*snapshot] {
	return func(yield func(*snapshot) bool) {
		for _, s := range h.rows {
			if !s.gone && !yield(s) {
				return
			}
		}
	}
}

// candidates is the shortest list that holds all that can pass the filters, in the
// order of their making. It may hold what does not pass.
func (h *shelf) candidates(fs filters) []*snapshot {
	var keys []string
	least := -1
	for _, f := range fs {
		if k := f.indexed(); k != nil {
			n := 0
			for _, key := range k {
				n += len(h.index[key])
			}
			if least < 0 || n < least {
				keys, least = k, n
			}
		}
	}
	if least < 0 {
		return h.rows
	}
	var found []*snapshot
	for _, key := range keys {
		found = append(found, h.list(key)...)
	}
	// Tags may come later than the snapshot, and values may be named twice.
	slices.SortFunc(found, func(a, b *snapshot) int { return compare(a.seq, b.seq) })
	return slices.Compact(found)
}

// indexed are the keys of the index under which all that passes a filter is; nil if
// there are no such.
func (f filter) indexed() (keys []string) {
	tag, isTag := strings.CutPrefix(f.name, "tag:")
	if !isTag && f.name != "volume-id" {
		return nil
	}
	keys = []string{} // a filter without values lets nothing pass
	for _, v := range f.values {
		text, plain := literal(v)
		switch {
		case !plain:
			return nil
		case isTag:
			keys = append(keys, byTag(Tag{tag, text}))
		default:
			keys = append(keys, byVolume(text))
		}
	}
	return keys
}

// list is one of the index, without what is gone.
func (h *shelf) list(key string) []*snapshot {
	list := h.index[key]
	left := 0
	for _, s := range list {
		if s.gone {
			left++
		}
	}
	if left > 32 && left > len(list)/2 {
		list = slices.DeleteFunc(list, func(s *snapshot) bool { return s.gone })
		h.index[key] = list
	}
	return list
}
