package doctor

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Lines tells the findings to people. What a database or driver said may be in
// them: line makes a text fit for a terminal.
func Lines(findings []Finding, line func(string) string) (lines []string) {
	titles := map[Severity]string{Problem: "Problems", Warning: "Should not stay so", Orphan: "Left behind", Information: "Good to know"}
	var last Severity
	for _, f := range findings {
		if f.Severity != last {
			if last != "" {
				lines = append(lines, "")
			}
			lines, last = append(lines, titles[f.Severity]), f.Severity
		}
		lines = append(lines, "  "+line(f.Title()+": "+f.What))
		if f.Result != "" {
			lines = append(lines, "    "+line(f.Result))
		} else {
			lines = append(lines, "    next: "+line(f.Next))
		}
	}
	return lines
}

// Notes tell what could not be looked at.
func Notes(c Cluster) (notes []string) {
	for _, kind := range slices.Sorted(maps.Keys(c.Unseen)) {
		notes = append(notes, fmt.Sprintf("%s were not looked at: %s", kind, c.Unseen[kind]))
	}
	return notes
}

// Results of a fix after which nothing is wrong any more.
const (
	Removed = "removed"
	Over    = "left alone: it is gone, or no longer left behind"
)

// Wrong counts what is wrong and still there.
func Wrong(findings []Finding) (problems, orphans int) {
	for _, f := range findings {
		switch {
		case f.Result == Removed || f.Result == Over:
		case f.Severity == Problem:
			problems++
		case f.Severity == Orphan:
			orphans++
		}
	}
	return problems, orphans
}

// Verdict says in one line what is wrong; "" when nothing is.
func Verdict(findings []Finding) string {
	var parts []string
	problems, orphans := Wrong(findings)
	if problems > 0 {
		parts = append(parts, count(problems, "problem"))
	}
	if orphans > 0 {
		parts = append(parts, count(orphans, "object")+" left behind")
	}
	return strings.Join(parts, ", ")
}

func count(n int, what string) string {
	if n != 1 {
		what += "s"
	}
	return fmt.Sprintf("%d %s", n, what)
}
