package main

import (
	"fmt"
	"strings"
)

const mostShown = 8 // problems of one finding

// verdict says in plain words what came out.
func (r *run) verdict() {
	for _, f := range r.res.findings {
		if len(f.problems) == 0 {
			r.s.good("%s", f.what)
			continue
		}
		r.s.bad("NOT SO: %s", f.what)
		for i, p := range f.problems {
			if i == mostShown {
				r.s.line("    … and %s more", count(len(f.problems)-i))
				break
			}
			r.s.line("    %s", p)
		}
	}
	r.s.head("Verdict", "")
	if !r.res.good() {
		r.s.bad("%s", r.s.paint(red, failure(r.res)))
	} else {
		r.s.good("%s", r.s.paint(green, success(r.res, r.cfg.clone)))
	}
	if r.b != nil {
		for _, line := range numbers(r.res, r.cfg.clone) {
			r.s.line("%s", line)
		}
	}
}

func success(res result, clone bool) string {
	end := "and the CHT was destroyed and is back, whole, in another namespace."
	if clone {
		end = "the copy is whole, and its source is as it was."
	}
	return fmt.Sprintf("Nothing was lost: of %s writes saved before the cut all are there, no user saw an error, %s", count(res.before), end)
}

func failure(res result) string {
	switch {
	case res.lost > 0:
		return fmt.Sprintf("FAILED: %s writes that were told \"saved\" are lost.", count(res.lost))
	case res.future > 0:
		return fmt.Sprintf("FAILED: %s writes from after the cut are in the copy: it is no point in time.", count(res.future))
	case res.err != nil:
		return "FAILED: the run did not come to its end: " + res.err.Error()
	default:
		return "FAILED: " + res.why()
	}
}

// numbers are what the run measured, a line each.
func numbers(res result, clone bool) []string {
	held := "nothing was held back (mode None)"
	if res.stall > 0 {
		held = fmt.Sprintf("%s (mode %s); the longest wait was %s then, %s before and after", milliseconds(res.stall), res.mode, milliseconds(res.longHeld), milliseconds(res.longOther))
	}
	rows := [][2]string{
		{"writes", fmt.Sprintf("%s before the stall, %s during, %s after; %s failed", count(res.before), count(res.open), count(res.after), count(res.failed))},
		{"writes stood still for", held},
		{"safe copy after", short(res.safe) + " from the request until a restore can be made from it"},
	}
	if res.first > 0 {
		rows = append(rows, [2]string{"first good backup", short(res.first) + " after `helm install`"})
	}
	if res.restored > 0 {
		rows = append(rows, [2]string{"verified restore in", short(res.restored)})
	}
	if res.back > 0 {
		from := " from the loss, the deletion itself included"
		if clone {
			from = " from the command on"
		}
		rows = append(rows, [2]string{"usable after", short(res.back) + from})
	}
	if res.documents > 0 {
		rows = append(rows, [2]string{"restored", fmt.Sprintf("%s documents in %s databases", count(res.documents), count(res.databases))})
	}
	if res.sentinel != "" {
		rows = append(rows, [2]string{"Sentinel, API, ingress", strings.Join([]string{res.sentinel, res.api, res.ingress}, "; ")})
	}
	var lines []string
	for _, row := range rows {
		lines = append(lines, fmt.Sprintf("  %-24s%s", row[0], row[1]))
	}
	return lines
}

// keptLines say how to look at what was kept and how to remove it.
func (r *run) keptLines() []string {
	return []string{
		"export KUBECONFIG=" + r.c.Kubeconfig,
		fmt.Sprintf("namespaces %s, %s and %s", r.source.Namespace, r.target.Namespace, r.system()),
		fmt.Sprintf("the records: kubectl get secret -n %s -l %s", r.system(), recordSelector(r.source.Namespace)),
	}
}
