package score

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// Finding is one complaint of kube-score.
type Finding struct {
	Check, Object, Container, Summary string
}

func (f Finding) String() string {
	where := f.Object
	if f.Container != "" {
		where += ", container " + f.Container
	}
	return fmt.Sprintf("%s: %s (%s)", where, f.Summary, f.Check)
}

// Exception is a finding that is meant.
type Exception struct {
	Check string
	// Summary is a part of the finding's; "" is any.
	Summary string
	// Objects have one of these parts in their kind and name; none is any.
	Objects []string
	Reason  string
}

func (e Exception) covers(f Finding) bool {
	return e.Check == f.Check && strings.Contains(f.Summary, e.Summary) &&
		(len(e.Objects) == 0 || slices.ContainsFunc(e.Objects, func(part string) bool { return strings.Contains(f.Object, part) }))
}

// perfect is the grade without a complaint.
const perfect = 10

// Findings reads kube-score's output in format json, version v2.
func Findings(output []byte) ([]Finding, error) {
	var objects []struct {
		Type struct {
			Kind string `json:"kind"`
		} `json:"type_meta"`
		Object struct {
			Name string `json:"name"`
		} `json:"object_meta"`
		Checks []struct {
			Check struct {
				ID string `json:"id"`
			} `json:"check"`
			Grade    int  `json:"grade"`
			Skipped  bool `json:"skipped"`
			Comments []struct {
				Path    string `json:"path"`
				Summary string `json:"summary"`
			} `json:"comments"`
		} `json:"checks"`
	}
	if err := json.Unmarshal(output, &objects); err != nil {
		return nil, fmt.Errorf("read kube-score's output: %w", err)
	}
	if len(objects) == 0 {
		return nil, fmt.Errorf("read kube-score's output: it looked at no object")
	}
	var findings []Finding
	for _, o := range objects {
		for _, c := range o.Checks {
			if c.Skipped || c.Grade >= perfect {
				continue
			}
			f := Finding{Check: c.Check.ID, Object: o.Type.Kind + " " + o.Object.Name}
			if len(c.Comments) == 0 {
				findings = append(findings, f)
			}
			for _, comment := range c.Comments {
				f.Container, f.Summary = comment.Path, comment.Summary
				findings = append(findings, f)
			}
		}
	}
	return findings, nil
}

// Judge gives the findings that no exception covers, and the exceptions that cover none.
func Judge(findings []Finding, exceptions []Exception) (meantByNobody []Finding, needless []Exception) {
	used := make([]bool, len(exceptions))
	for _, f := range findings {
		covered := false
		for i, e := range exceptions {
			if e.covers(f) {
				covered, used[i] = true, true
			}
		}
		if !covered && !slices.Contains(meantByNobody, f) {
			meantByNobody = append(meantByNobody, f)
		}
	}
	for i, e := range exceptions {
		if !used[i] {
			needless = append(needless, e)
		}
	}
	return meantByNobody, needless
}
