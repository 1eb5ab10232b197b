package show

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/schedule/retention"
)

var weekdays = []string{"Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"}

// cronWords says in words when an expression is due, "" where that takes more than
// a few: the next runs tell it better then.
func cronWords(expression string) string {
	if interval, every := strings.CutPrefix(expression, "@every "); every {
		return "every " + interval
	}
	switch expression {
	case "@hourly":
		expression = "0 * * * *"
	case "@daily", "@midnight":
		expression = "0 0 * * *"
	case "@weekly":
		expression = "0 0 * * 0"
	case "@monthly":
		expression = "0 0 1 * *"
	case "@yearly", "@annually":
		return "every year on 1 January at 00:00"
	}
	f := strings.Fields(expression)
	if len(f) != 5 || f[3] != "*" {
		return ""
	}
	minute, err := strconv.Atoi(f[0])
	if err != nil {
		return ""
	}
	if f[1] == "*" && f[2] == "*" && f[4] == "*" {
		return fmt.Sprintf("every hour at minute %d", minute)
	}
	hour, err := strconv.Atoi(f[1])
	if err != nil {
		return ""
	}
	at := fmt.Sprintf(" at %02d:%02d", hour, minute)
	switch {
	case f[2] == "*" && f[4] == "*":
		return "every day" + at
	case f[2] == "*" && f[4] == "1-5":
		return "Monday to Friday" + at
	case f[2] == "*":
		if day := weekday(f[4]); day != "" {
			return "every " + day + at
		}
	case f[4] == "*":
		if day, err := strconv.Atoi(f[2]); err == nil {
			return fmt.Sprintf("on day %d of every month", day) + at
		}
	}
	return ""
}

func weekday(field string) string {
	if n, err := strconv.Atoi(field); err == nil && n >= 0 && n < len(weekdays) {
		return weekdays[n]
	}
	for _, day := range weekdays {
		if strings.EqualFold(field, day[:3]) {
			return day
		}
	}
	return ""
}

// clockText is an expression, with its words where there are some.
func clockText(expression api.CronExpression, zone string) string {
	text := string(expression)
	if words := cronWords(text); words != "" {
		text += " (" + words + ")"
	}
	return text + ", " + zone
}

// keeps tells what a retention keeps.
func keeps(r *api.Retention) string {
	policy, err := retention.PolicyOf(r)
	if err != nil {
		return oneLine(err.Error())
	}
	return policy.String()
}

// jitterText tells the delay of every run.
func jitterText(s *api.BackupSchedule) string {
	if s.Spec.Jitter == nil || s.Spec.Jitter.Duration == 0 {
		return ""
	}
	return fmt.Sprintf("each run %s later (its share of %s)", time.Duration(s.Status.JitterSeconds)*time.Second, s.Spec.Jitter.Duration)
}
