package ec2

import (
	"encoding/base64"
	"fmt"
	"hash/fnv"
	"slices"
	"strconv"
	"strings"
)

// window is the part of a listing that a request asks for: what comes after, and how
// many. most is 0 for all.
type window struct {
	after uint64
	most  int
	query uint64
}

// window reads MaxResults and NextToken. A token is of one query: with another it is
// refused.
func (q *request) window(least, most int) (w window, err error) {
	n, err := q.number("MaxResults", least, most)
	if err != nil {
		return w, err
	}
	w.most = int(n)
	h := fnv.New64a()
	names := make([]string, 0, len(q.form))
	for name := range q.form {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		if name != "NextToken" && name != "MaxResults" {
			_, _ = fmt.Fprintf(h, "%q=%q;", name, q.get(name))
		}
	}
	_, _ = fmt.Fprintf(h, "%s %s", q.who.account, q.region.name)
	w.query = h.Sum64()
	if token := q.get("NextToken"); token != "" {
		invalid := fail("InvalidParameterValue", "Unable to parse pagination token")
		b, err := base64.URLEncoding.DecodeString(token)
		if err != nil {
			return w, invalid
		}
		after, query, _ := strings.Cut(string(b), " ")
		if w.after, err = strconv.ParseUint(after, 10, 64); err != nil || query != strconv.FormatUint(w.query, 16) {
			return w, invalid
		}
		if w.most == 0 {
			w.most = most
		}
	}
	return w, nil
}

// token continues after an element.
func (w window) token(after uint64) string {
	return base64.URLEncoding.EncodeToString([]byte(strconv.FormatUint(after, 10) + " " + strconv.FormatUint(w.query, 16)))
}

// cut takes a request's page of what it found, which must be in the order of seq.
func cut[T any](q *request, items []T, seq func(T) uint64, least, most int) (page []T, next string, err error) {
	w, err := q.window(least, most)
	if err != nil {
		return nil, "", err
	}
	from, _ := slices.BinarySearchFunc(items, w.after+1, func(t T, after uint64) int { return compare(seq(t), after) })
	items = items[from:]
	if w.most > 0 && len(items) > w.most {
		return items[:w.most], w.token(seq(items[w.most-1])), nil
	}
	return items, "", nil
}

func compare(a, b uint64) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

// row is what a table holds.
type row interface{ key() string }

// table holds few things in the order they were made.
type table[T row] struct {
	rows []T
	by   map[string]T
}

func (t *table[T]) get(key string) T { return t.by[key] }

func (t *table[T]) put(v T) {
	if t.by == nil {
		t.by = map[string]T{}
	}
	t.rows, t.by[v.key()] = append(t.rows, v), v
}

func (t *table[T]) drop(key string) {
	delete(t.by, key)
	t.rows = slices.DeleteFunc(t.rows, func(v T) bool { return v.key() == key })
}
