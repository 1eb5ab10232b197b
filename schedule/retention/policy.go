package retention

import (
	"errors"
	"fmt"
	"strings"

	api "github.com/medic/cht-backup/api/v1alpha1"
)

// What a retention that does not say otherwise does with failed backups. The same
// stands in the API's defaults, which an object made in a program does not have.
const (
	defaultFailedLast   = 10
	defaultFailedWithin = "30d"
)

// Policy is a retention that was read. A count of 0 and a span of no length are no
// rule.
type Policy struct {
	// Unlimited: there is no retention, all are kept.
	Unlimited bool
	// Last keeps so many of the newest.
	Last int
	// Hourly to Yearly keep the newest of each of the so many newest periods that
	// have one.
	Hourly, Daily, Weekly, Monthly, Yearly int
	// Within keeps what is no older than this beside the newest good one.
	Within Span
	// FailedLast and FailedWithin both bound what is kept of failed ones.
	FailedLast   int
	FailedWithin Span
}

// PolicyOf reads a schedule's retention; of nil it makes the policy that keeps all.
func PolicyOf(r *api.Retention) (Policy, error) {
	if r == nil {
		return Policy{Unlimited: true}, nil
	}
	p := Policy{FailedLast: defaultFailedLast}
	var wrong []error
	for _, rule := range []struct {
		field string
		value *int32
		into  *int
	}{
		{"keepLast", r.KeepLast, &p.Last}, {"keepHourly", r.KeepHourly, &p.Hourly}, {"keepDaily", r.KeepDaily, &p.Daily}, {"keepWeekly", r.KeepWeekly, &p.Weekly},
		{"keepMonthly", r.KeepMonthly, &p.Monthly}, {"keepYearly", r.KeepYearly, &p.Yearly}, {"failed.keepLast", r.Failed.KeepLast, &p.FailedLast},
	} {
		if rule.value == nil {
			continue
		}
		*rule.into = int(*rule.value)
		if *rule.value < 0 {
			wrong = append(wrong, fmt.Errorf("retention.%s: %d is below 0; give how many are kept, or leave it out", rule.field, *rule.value))
		}
	}
	failedWithin := r.Failed.KeepWithin
	if failedWithin == "" {
		failedWithin = defaultFailedWithin
	}
	for _, rule := range []struct {
		field, value string
		into         *Span
	}{{"keepWithin", r.KeepWithin, &p.Within}, {"failed.keepWithin", failedWithin, &p.FailedWithin}} {
		if rule.value == "" {
			continue
		}
		var err error
		if *rule.into, err = ParseSpan(rule.value); err != nil {
			wrong = append(wrong, fmt.Errorf("retention.%s: %w", rule.field, err))
		}
	}
	if len(wrong) == 0 && p.keepsNothing() {
		wrong = append(wrong, errors.New("retention: every keep rule is 0 or left out, which would remove all but the newest backup; leave retention out to keep all, or set keepLast: 1 if that is meant"))
	}
	return p, errors.Join(wrong...)
}

func (p Policy) keepsNothing() bool {
	return p.Last+p.Hourly+p.Daily+p.Weekly+p.Monthly+p.Yearly == 0 && p.Within.IsZero()
}

// String tells the policy as an operator would write it.
func (p Policy) String() string {
	if p.Unlimited {
		return "no retention: all are kept"
	}
	var rules []string
	for _, rule := range []struct {
		name string
		n    int
	}{{"last", p.Last}, {"hourly", p.Hourly}, {"daily", p.Daily}, {"weekly", p.Weekly}, {"monthly", p.Monthly}, {"yearly", p.Yearly}} {
		if rule.n > 0 {
			rules = append(rules, fmt.Sprintf("%s %d", rule.name, rule.n))
		}
	}
	if !p.Within.IsZero() {
		rules = append(rules, "within "+p.Within.String())
	}
	return fmt.Sprintf("%s; failed: at most %d, within %s", strings.Join(rules, ", "), p.FailedLast, p.FailedWithin)
}
