package show

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/medic/cht-backup/schedule/retention"
)

// Explanation is what a retention does, and why.
type Explanation struct {
	Namespace, Schedule, Cron string
	Zone                      *time.Location
	Policy                    retention.Policy
	// Tried: the policy is not the schedule's own.
	Tried bool
	Now   time.Time
	Plan  []retention.Decision
	// Simulation of the backups to come over Span; nil when it was not asked for.
	Simulation *retention.Simulation
	Span       retention.Span
}

// Lines tell it for people.
func (x Explanation) Lines() []string {
	policy := x.Policy.String()
	if x.Tried {
		policy += " (tried, not the schedule's own)"
	}
	lines := columns("", [][]string{{"Schedule:", fmt.Sprintf("%s/%s  %s  %s", x.Namespace, x.Schedule, x.Cron, x.Zone)}, {"Policy:", policy}})
	lines = append(lines, "")
	if len(x.Plan) == 0 {
		lines = append(lines, "There are no backups yet.")
	} else {
		lines = append(lines, x.table()...)
	}
	if x.Simulation != nil {
		lines = append(lines, "")
		lines = append(lines, x.simulation()...)
	}
	return lines
}

func (x Explanation) table() []string {
	rows := [][]string{{"BACKUP", "TIME", "STATE", "", "WHY"}}
	count := map[string]int{}
	for _, d := range x.Plan {
		count[keepOrRemove(d)]++
		state := d.State.String()
		if d.Verified && d.State == retention.Good {
			state = "verified"
		}
		rows = append(rows, []string{d.Name, d.Time.In(x.Zone).Format("Mon 2006-01-02 15:04:05 MST"), state, keepOrRemove(d), oneLine(d.Reason())})
	}
	sum := fmt.Sprintf("%d backups: %d kept, %d to be removed", len(x.Plan), count["keep"], count["remove"])
	if n := count["deleting"]; n > 0 {
		sum += fmt.Sprintf(", %d being deleted", n)
	}
	return append(columns("", rows), "", sum)
}

func keepOrRemove(d retention.Decision) string {
	switch {
	case d.State == retention.Deleting:
		return "deleting"
	case d.Keep:
		return "keep"
	default:
		return "remove"
	}
}

// simulation draws a month a row and a day a column.
func (x Explanation) simulation() []string {
	s := x.Simulation
	head := fmt.Sprintf("Simulated: %d backups in %s from %s on, all good", len(s.Runs), x.Span, x.Now.In(x.Zone).Format(time.DateOnly))
	if len(s.Runs) == 0 {
		return []string{head}
	}
	lines := []string{head, "",
		"                   1         2         3",
		"          1234567890123456789012345678901  LEFT  AT MOST"}
	for _, m := range x.months() {
		lines = append(lines, fmt.Sprintf("%s   %s  %4d  %7d", m.Month, m.days, m.Left, m.Most))
	}
	return append(lines, "", ". none of that day is left at the end, 1 to 9 so many are, + more; AT MOST: at once in that month",
		fmt.Sprintf("%d are left at the end; at most %d at once, first on %s", len(s.Left), s.Most, s.MostAt.In(x.Zone).Format(time.DateOnly)))
}

// month is one row of a simulation.
type month struct {
	Month string `json:"month"`
	// Left counts the month's backups that are there at the end.
	Left int `json:"left"`
	// Most counts what is there at once at the most in that month, of whatever age.
	Most int `json:"most"`
	days string
}

func (x Explanation) months() []month {
	s := x.Simulation
	left := map[string]int{} // by day
	for _, d := range s.Left {
		left[d.Time.In(x.Zone).Format(time.DateOnly)]++
	}
	most := map[string]int{}
	for _, run := range s.Runs {
		key := run.Time.In(x.Zone).Format("2006-01")
		most[key] = max(most[key], run.Kept)
	}
	// Days are counted in UTC, where each has 24 hours; they stand for the zone's.
	day := func(t time.Time) time.Time {
		year, month, day := t.In(x.Zone).Date()
		return time.Date(year, month, day, 0, 0, 0, 0, time.UTC)
	}
	begin, end := day(x.Now), day(x.Span.After(x.Now, x.Zone))
	var all []month
	for first := time.Date(begin.Year(), begin.Month(), 1, 0, 0, 0, 0, time.UTC); !first.After(end); first = first.AddDate(0, 1, 0) {
		m := month{Month: first.Format("2006-01"), Most: most[first.Format("2006-01")]}
		var marks strings.Builder
		for d := first; d.Month() == first.Month(); d = d.AddDate(0, 0, 1) {
			n := left[d.Format(time.DateOnly)]
			m.Left += n
			switch {
			case d.Before(begin) || d.After(end):
				marks.WriteByte(' ')
			case n == 0:
				marks.WriteByte('.')
			case n > 9:
				marks.WriteByte('+')
			default:
				marks.WriteByte(byte('0' + n))
			}
		}
		m.days = fmt.Sprintf("%-31s", marks.String())
		all = append(all, m)
	}
	return all
}

// JSON tells it for programs.
func (x Explanation) JSON() ([]byte, error) {
	type backup struct {
		Name     string    `json:"name,omitempty"`
		Time     time.Time `json:"time"`
		State    string    `json:"state,omitempty"`
		Verified bool      `json:"verified,omitempty"`
		Keep     bool      `json:"keep"`
		Why      []string  `json:"why"`
	}
	type simulation struct {
		Span   string    `json:"span"`
		Runs   int       `json:"runs"`
		Most   int       `json:"most"`
		MostAt time.Time `json:"mostAt,omitzero"`
		Left   []backup  `json:"left"`
		Months []month   `json:"months"`
	}
	out := struct {
		Namespace  string      `json:"namespace"`
		Schedule   string      `json:"schedule"`
		Cron       string      `json:"cron"`
		TimeZone   string      `json:"timeZone"`
		Time       time.Time   `json:"time"`
		Policy     string      `json:"policy"`
		Tried      bool        `json:"tried"`
		Kept       int         `json:"kept"`
		Removed    int         `json:"removed"`
		Backups    []backup    `json:"backups"`
		Simulation *simulation `json:"simulation,omitempty"`
	}{Namespace: x.Namespace, Schedule: x.Schedule, Cron: x.Cron, TimeZone: x.Zone.String(), Time: x.Now.In(x.Zone), Policy: x.Policy.String(), Tried: x.Tried, Backups: []backup{}}
	for _, d := range x.Plan {
		switch keepOrRemove(d) {
		case "keep":
			out.Kept++
		case "remove":
			out.Removed++
		}
		out.Backups = append(out.Backups, backup{d.Name, d.Time.In(x.Zone), d.State.String(), d.Verified, d.Keep, d.Why})
	}
	if s := x.Simulation; s != nil {
		sim := &simulation{Span: x.Span.String(), Runs: len(s.Runs), Most: s.Most, MostAt: s.MostAt, Left: []backup{}, Months: x.months()}
		for _, d := range s.Left {
			sim.Left = append(sim.Left, backup{Time: d.Time.In(x.Zone), Keep: true, Why: d.Why})
		}
		out.Simulation = sim
	}
	return json.MarshalIndent(out, "", "  ")
}
