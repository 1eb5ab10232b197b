package load

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Verdict is what a copy has of the writes that were made while it was taken.
type Verdict struct {
	// Present were acknowledged before the cut and are in the copy.
	Present int
	// Lost were acknowledged before the cut and are not there, or older.
	Lost []string
	// Future were sent after the cut and are there all the same.
	Future []string
	// Open were under way around the cut: they may be there or not.
	Open int
}

// Good tells whether the copy is what it should be. Nothing written is not good:
// it proves nothing.
func (v Verdict) Good() bool { return len(v.Lost) == 0 && len(v.Future) == 0 && v.Present > 0 }

func (v Verdict) String() string {
	s := fmt.Sprintf("%d acknowledged writes present, %d lost, %d from after the cut, %d under way", v.Present, len(v.Lost), len(v.Future), v.Open)
	for _, one := range slices.Concat(v.Lost[:min(3, len(v.Lost))], v.Future[:min(3, len(v.Future))]) {
		s += "\n  " + one
	}
	return s
}

// CheckWrites judges a copy: what was acknowledged before must be in it, what was
// sent after must not. Between them (the quiesce and the cut) either is right.
func CheckWrites(d *Dump, writes []Write, before, after time.Time) Verdict {
	var v Verdict
	for _, w := range writes {
		has, there := d.Docs[Key{w.DB, w.ID}]
		there = there && !older(has, w.Rev)
		at := fmt.Sprintf("%s/%s %s: sent %s, answered %s with %d, copy has %q", w.DB, w.ID, w.Rev, clock(w.Start), clock(w.End), w.Status, has)
		switch {
		case w.Acknowledged() && w.End < before.UnixNano() && there:
			v.Present++
		case w.Acknowledged() && w.End < before.UnixNano():
			v.Lost = append(v.Lost, at)
		case w.Acknowledged() && w.Start > after.UnixNano() && there:
			v.Future = append(v.Future, at)
		case w.Start <= after.UnixNano():
			v.Open++
		}
	}
	return v
}

// older tells whether revision a cannot be b or a successor of b.
func older(a, b string) bool {
	x, y := generation(a), generation(b)
	return x < y || x == y && a != b
}

func generation(rev string) int {
	n, _, _ := strings.Cut(rev, "-")
	g, err := strconv.Atoi(n)
	if err != nil {
		return -1
	}
	return g
}

func clock(nano int64) string { return time.Unix(0, nano).UTC().Format("15:04:05.000000") }

// CausalVerdict is what a copy has of causal pairs.
type CausalVerdict struct {
	Both, OnlyA, Neither int
	// Violations are pairs whose second write is there without the first.
	Violations []string
}

// CheckPairs judges a copy by its pairs.
func CheckPairs(d *Dump, pairs []Pair) CausalVerdict {
	var v CausalVerdict
	for _, p := range pairs {
		if p.B == nil {
			continue
		}
		_, a := d.Docs[Key{p.A.DB, p.A.ID}]
		_, b := d.Docs[Key{p.B.DB, p.B.ID}]
		switch {
		case a && b:
			v.Both++
		case a:
			v.OnlyA++
		case b:
			v.Violations = append(v.Violations, fmt.Sprintf("pair %d: %s on %s (sent %s) is there, %s on %s (acknowledged %s) is not",
				p.Seq, p.B.ID, p.B.Node, clock(p.B.Start), p.A.ID, p.A.Node, clock(p.A.End)))
		default:
			v.Neither++
		}
	}
	return v
}

// Straddles tells whether the copy lies inside the pairs: some are in it, some
// are not. Else it says nothing about its consistency.
func (v CausalVerdict) Straddles() bool { return v.Both > 0 && v.Neither+v.OnlyA > 0 }

// Diff lists how copy differs from source, at most the first hundred differences.
func Diff(source, copied *Dump) []string {
	var all []string
	all = append(all, diffKeys("document", source.Docs, copied.Docs)...)
	all = append(all, diffKeys("local document", source.Locals, copied.Locals)...)
	for db, n := range source.Deleted {
		if m, ok := copied.Deleted[db]; !ok {
			all = append(all, fmt.Sprintf("database %s is missing", db))
		} else if m != n {
			all = append(all, fmt.Sprintf("database %s: %d deleted documents, was %d", db, m, n))
		}
	}
	for db := range copied.Deleted {
		if _, ok := source.Deleted[db]; !ok {
			all = append(all, fmt.Sprintf("database %s was not there", db))
		}
	}
	slices.Sort(all)
	return all[:min(100, len(all))]
}

func diffKeys(what string, source, copied map[Key]string) []string {
	var all []string
	for k, rev := range source {
		if has, ok := copied[k]; !ok {
			all = append(all, fmt.Sprintf("%s %s/%s %s is missing", what, k.DB, k.ID, rev))
		} else if has != rev {
			all = append(all, fmt.Sprintf("%s %s/%s has %s, was %s", what, k.DB, k.ID, has, rev))
		}
	}
	for k := range copied {
		if _, ok := source[k]; !ok {
			all = append(all, fmt.Sprintf("%s %s/%s was not there", what, k.DB, k.ID))
		}
	}
	return all
}

// Only keeps the databases for which keep says so.
func (d *Dump) Only(keep func(db string) bool) *Dump {
	out := &Dump{Docs: map[Key]string{}, Locals: map[Key]string{}, Deleted: map[string]int64{}}
	for k, v := range d.Docs {
		if keep(k.DB) {
			out.Docs[k] = v
		}
	}
	for k, v := range d.Locals {
		if keep(k.DB) {
			out.Locals[k] = v
		}
	}
	for db, n := range d.Deleted {
		if keep(db) {
			out.Deleted[db] = n
		}
	}
	return out
}
