package retention

import (
	"strings"
	"testing"

	api "github.com/medic/cht-backup/api/v1alpha1"
)

func n(of int32) *int32 { return &of }

func TestPolicyOf(t *testing.T) {
	for _, c := range []struct {
		name      string
		retention *api.Retention
		want      Policy
	}{
		{"none keeps all", nil, Policy{Unlimited: true}},
		{"every rule", &api.Retention{KeepLast: n(1), KeepHourly: n(2), KeepDaily: n(3), KeepWeekly: n(4), KeepMonthly: n(5), KeepYearly: n(6), KeepWithin: "1y6m",
			Failed: api.FailedRetention{KeepLast: n(0), KeepWithin: "7d"}},
			Policy{Last: 1, Hourly: 2, Daily: 3, Weekly: 4, Monthly: 5, Yearly: 6, Within: Span{Years: 1, Months: 6}, FailedWithin: Span{Days: 7}}},
		{"without the server's defaults", &api.Retention{KeepDaily: n(7)}, Policy{Daily: 7, FailedLast: 10, FailedWithin: Span{Days: 30}}},
		{"a rule of 0 is none", &api.Retention{KeepDaily: n(7), KeepLast: n(0)}, Policy{Daily: 7, FailedLast: 10, FailedWithin: Span{Days: 30}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got, err := PolicyOf(c.retention); err != nil || got != c.want {
				t.Errorf("got %+v, %v\nwant %+v", got, err, c.want)
			}
		})
	}
}

func TestPolicyOfRefuses(t *testing.T) {
	for _, c := range []struct {
		name      string
		retention api.Retention
		says      []string
	}{
		{"a span that is none", api.Retention{KeepWithin: "2w"}, []string{`retention.keepWithin: "2w"`, "such as 14d"}},
		{"one for failed ones", api.Retention{KeepLast: n(1), Failed: api.FailedRetention{KeepWithin: "x"}}, []string{`retention.failed.keepWithin: "x"`}},
		{"below 0", api.Retention{KeepDaily: n(-1), KeepYearly: n(-2)}, []string{"retention.keepDaily: -1", "retention.keepYearly: -2", "leave it out"}},
		{"no rule", api.Retention{}, []string{"all but the newest", "keepLast: 1"}},
		{"only rules of 0", api.Retention{KeepLast: n(0), KeepWithin: "0d"}, []string{"all but the newest"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := PolicyOf(&c.retention)
			if err == nil {
				t.Fatal("no error")
			}
			for _, s := range c.says {
				if !strings.Contains(err.Error(), s) {
					t.Errorf("%q does not say %q", err, s)
				}
			}
		})
	}
}

func TestPolicyString(t *testing.T) {
	p, err := PolicyOf(&api.Retention{KeepDaily: n(7), KeepMonthly: n(12), KeepWithin: "48h"})
	if got, want := p.String(), "daily 7, monthly 12, within 48h; failed: at most 10, within 30d"; err != nil || got != want {
		t.Errorf("%q, %v", got, err)
	}
	if got := (Policy{Unlimited: true}).String(); got != "no retention: all are kept" {
		t.Errorf("%q", got)
	}
}
