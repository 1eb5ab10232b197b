package checks

import (
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/rulefmt"
)

const h, m = time.Hour, time.Minute

// Time begins at 0. A recovery point of -93000 was 25 h and 50 min ago then.
var scenarios = map[string][]scenario{
	"CHTNoRecentBackup": {
		{name: "old", series: `recovery_point_timestamp_seconds{OURS,namespace="medic"} -93000x60
			recovery_point_timestamp_seconds{OURS,namespace="fine"} -3600x60`, at: 30 * m, want: []string{"namespace=medic"}},
		{name: "not for a quarter of an hour yet", series: `recovery_point_timestamp_seconds{OURS,namespace="medic"} -93000x60`, at: 24 * m},
		{name: "young enough", series: `recovery_point_timestamp_seconds{OURS,namespace="medic"} -86400x60`, at: h},
		{name: "no backups at all", series: `build_info{OURS} 1x60`, at: h},
		{name: "a new one ends it", series: `recovery_point_timestamp_seconds{OURS,namespace="medic"} -93000x40 2400x20`, at: 45 * m},
		{name: "the newest is deleted", series: `recovery_point_timestamp_seconds{OURS,namespace="medic"} -3600x20 -172800x40`, at: 40 * m, want: []string{"namespace=medic"}},
		{name: "the controller starts anew", series: `recovery_point_timestamp_seconds{OURS,namespace="medic"} -93600x10 stale
			recovery_point_timestamp_seconds{LATER,namespace="medic"} _x20 -93600x10`, at: 26 * m, want: []string{"namespace=medic"}},
		{name: "scrapes fail for a while", series: `recovery_point_timestamp_seconds{OURS,namespace="medic"} -93600x10 _x12 -93600x10`, at: 20 * m, want: []string{"namespace=medic"}},
		{name: "both pods of a rollout", series: `recovery_point_timestamp_seconds{OURS,namespace="medic"} -93600x30
			recovery_point_timestamp_seconds{LATER,namespace="medic"} -3600x30`, at: 25 * m},
		{name: "the namespace is gone", series: `recovery_point_timestamp_seconds{OURS,namespace="medic"} -93600x20 stale`, at: 45 * m},
		{name: "of another release", series: `recovery_point_timestamp_seconds{OTHER,namespace="medic"} -93600x60`, at: h},
	},
	"CHTNeverBackedUp": {
		{name: "not for a quarter of an hour yet", series: `watched_since_timestamp_seconds{OURS,namespace="medic"} -172800x60`, at: 10 * m},
		{name: "a schedule for two days, no backup", series: `watched_since_timestamp_seconds{OURS,namespace="medic"} -172800x60`, at: 20 * m, want: []string{"namespace=medic"}},
		{name: "a new schedule", series: `watched_since_timestamp_seconds{OURS,namespace="medic"} -3600x60`, at: h},
		{name: "there is a good one, though old", series: `watched_since_timestamp_seconds{OURS,namespace="medic"} -172800x60
			recovery_point_timestamp_seconds{OURS,namespace="medic"} -172000x60`, at: h},
		{name: "no backups at all", series: `build_info{OURS} 1x60`, at: h},
		{name: "the controller starts anew, and its other pod knows", series: `watched_since_timestamp_seconds{OURS,namespace="medic"} -172800x60
			recovery_point_timestamp_seconds{OURS,namespace="medic"} -172000x10 stale
			recovery_point_timestamp_seconds{LATER,namespace="medic"} _x14 -172000x60`, at: h},
		{name: "of another release", series: `watched_since_timestamp_seconds{OTHER,namespace="medic"} -172800x60`, at: h},
		{name: "the good one is another release's", series: `watched_since_timestamp_seconds{OURS,namespace="medic"} -172800x60
			recovery_point_timestamp_seconds{OTHER,namespace="medic"} -3600x60`, at: h, want: []string{"namespace=medic"}},
	},
	"CHTBackupFailing": {
		{name: "just now", series: `failures_since_success{OURS,namespace="medic",reason="PodNotReady"} 1x5 2x20`, at: 8 * m},
		{name: "twice", series: `failures_since_success{OURS,namespace="medic",reason="PodNotReady"} 1x5 2x20
			failures_since_success{OURS,namespace="medic",reason="StallExceeded"} 1x20`, at: 15 * m, want: []string{"namespace=medic,reason=PodNotReady"}},
		{name: "once", series: `failures_since_success{OURS,namespace="medic",reason="PodNotReady"} 1x60`, at: h},
		{name: "a good one came", series: `failures_since_success{OURS,namespace="medic",reason="PodNotReady"} 3x10 stale`, at: 30 * m},
		{name: "over a restart", series: `failures_since_success{OURS,namespace="medic",reason="PodNotReady"} 2x3 stale
			failures_since_success{LATER,namespace="medic",reason="PodNotReady"} _x6 2x10`, at: 8 * m, want: []string{"namespace=medic,reason=PodNotReady"}},
		{name: "of another release", series: `failures_since_success{OTHER,namespace="medic",reason="PodNotReady"} 5x60`, at: h},
	},
	"CHTDrillFailed": {
		{name: "just now", series: `drill_failed{OURS,namespace="medic"} 0x5 1x20`, at: 8 * m},
		{name: "failed", series: `drill_failed{OURS,namespace="medic"} 0x5 1x20`, at: 15 * m, want: []string{"namespace=medic"}},
		{name: "good", series: `drill_failed{OURS,namespace="medic"} 0x60`, at: h},
		{name: "a later one was good", series: `drill_failed{OURS,namespace="medic"} 1x20 0x20`, at: 30 * m},
		{name: "none was made", series: `build_info{OURS} 1x60`, at: h},
		{name: "of another release", series: `drill_failed{OTHER,namespace="medic"} 1x60`, at: h},
	},
	"CHTNeverVerified": {
		{name: "not for an hour yet", step: 5 * m, series: `watched_since_timestamp_seconds{OURS,namespace="medic"} -3456000x60
			recovery_point_timestamp_seconds{OURS,namespace="medic"} -3600x60`, at: 50 * m},
		{name: "backed up for 40 days", step: 5 * m, series: `watched_since_timestamp_seconds{OURS,namespace="medic"} -3456000x60
			recovery_point_timestamp_seconds{OURS,namespace="medic"} -3600x60`, at: 2 * h, want: []string{"namespace=medic"}},
		{name: "for ten", step: 5 * m, series: `watched_since_timestamp_seconds{OURS,namespace="medic"} -864000x60
			recovery_point_timestamp_seconds{OURS,namespace="medic"} -3600x60`, at: 2 * h},
		{name: "proven once, long ago", step: 5 * m, series: `watched_since_timestamp_seconds{OURS,namespace="medic"} -34560000x60
			recovery_point_timestamp_seconds{OURS,namespace="medic"} -3600x60
			verified_timestamp_seconds{OURS,namespace="medic"} -30000000x60`, at: 2 * h},
		{name: "there is nothing to prove", step: 5 * m, series: `watched_since_timestamp_seconds{OURS,namespace="medic"} -3456000x60`, at: 2 * h},
		{name: "of another release", step: 5 * m, series: `watched_since_timestamp_seconds{OTHER,namespace="medic"} -3456000x60
			recovery_point_timestamp_seconds{OTHER,namespace="medic"} -3600x60`, at: 2 * h},
	},
	"CHTNotVerified": {
		{name: "of another release", step: 5 * m, series: `verified_timestamp_seconds{OTHER,namespace="medic"} -3456000x60`, at: 2 * h},
		{name: "not for an hour yet", step: 5 * m, series: `verified_timestamp_seconds{OURS,namespace="medic"} -3456000x60`, at: 50 * m},
		{name: "40 days ago", step: 5 * m, series: `verified_timestamp_seconds{OURS,namespace="medic"} -3456000x60`, at: 2 * h, want: []string{"namespace=medic"}},
		{name: "a week ago", step: 5 * m, series: `verified_timestamp_seconds{OURS,namespace="medic"} -604800x60`, at: 2 * h},
		{name: "never", step: 5 * m, series: `recovery_point_timestamp_seconds{OURS,namespace="medic"} -3600x60`, at: 2 * h},
		{name: "over a gap", step: 5 * m, series: `verified_timestamp_seconds{OURS,namespace="medic"} -3456000x6 _x1 -3456000x60`, at: 70 * m, want: []string{"namespace=medic"}},
	},
	"CHTStallLong": {
		{name: "just now", series: `last_stall_seconds{OURS,namespace="medic"} 12.5x20`, at: 3 * m},
		{name: "long", series: `last_stall_seconds{OURS,namespace="medic"} 12.5x20
			last_stall_seconds{OURS,namespace="fine"} 0.4x20`, at: 10 * m, want: []string{"namespace=medic"}},
		{name: "at the bound", series: `last_stall_seconds{OURS,namespace="medic"} 10x20`, at: 20 * m},
		{name: "the next was short", series: `last_stall_seconds{OURS,namespace="medic"} 12x20 0.3x20`, at: 30 * m},
		{name: "of another release", series: `last_stall_seconds{OTHER,namespace="medic"} 12x20`, at: 20 * m},
	},
	"CHTWritesHeld": {
		{name: "for two minutes", series: `held_since_timestamp_seconds{OURS,namespace="medic"} _x4 240x4`, at: 6 * m, want: []string{"namespace=medic"}},
		{name: "for a minute", series: `held_since_timestamp_seconds{OURS,namespace="medic"} _x4 240x1 stale`, at: 5 * m},
		{name: "released", series: `held_since_timestamp_seconds{OURS,namespace="medic"} _x4 240x3 stale`, at: 9 * m},
		{name: "of another release", series: `held_since_timestamp_seconds{OTHER,namespace="medic"} 0x10`, at: 9 * m},
	},
	"CHTScheduleNotReady": {
		{name: "not for an hour yet", series: `schedule_ready{OURS,namespace="medic",schedule="nightly"} 0x90`, at: 50 * m},
		{name: "invalid", series: `schedule_ready{OURS,namespace="medic",schedule="nightly"} 0x90
			schedule_suspended{OURS,namespace="medic",schedule="nightly"} 0x90
			schedule_ready{OURS,namespace="medic",schedule="weekly"} 1x90`, at: 80 * m, want: []string{"namespace=medic,schedule=nightly"}},
		{name: "a run waits for half an hour", series: `schedule_ready{OURS,namespace="medic",schedule="nightly"} 1x10 0x30 1x60`, at: 80 * m},
		{name: "suspended", series: `schedule_ready{OURS,namespace="medic",schedule="nightly"} 0x90
			schedule_suspended{OURS,namespace="medic",schedule="nightly"} 1x90`, at: 80 * m},
		{name: "over a restart", series: `schedule_ready{OURS,namespace="medic",schedule="nightly"} 0x40 stale
			schedule_ready{LATER,namespace="medic",schedule="nightly"} _x45 0x40`, at: 70 * m, want: []string{"namespace=medic,schedule=nightly"}},
		{name: "of another release", series: `schedule_ready{OTHER,namespace="medic",schedule="nightly"} 0x90`, at: 80 * m},
	},
	"CHTScheduleMissedRuns": {
		{name: "two more than yesterday", step: 5 * m, series: `schedule_missed_runs{OURS,namespace="medic",schedule="nightly"} 3x20 5x20`, at: 3 * h, want: []string{"namespace=medic,schedule=nightly"}},
		{name: "many, all long ago", step: 5 * m, series: `schedule_missed_runs{OURS,namespace="medic",schedule="nightly"} 30x40`, at: 3 * h},
		{name: "while the controller was down", step: 5 * m, series: `schedule_missed_runs{OURS,namespace="medic",schedule="nightly"} 0x10 stale
			schedule_missed_runs{LATER,namespace="medic",schedule="nightly"} _x20 1x20`, at: 3 * h, want: []string{"namespace=medic,schedule=nightly"}},
		{name: "two days ago", step: 30 * m, series: `schedule_missed_runs{OURS,namespace="medic",schedule="nightly"} 0x2 1x120`, at: 48 * h},
		{name: "of another release", step: 5 * m, series: `schedule_missed_runs{OTHER,namespace="medic",schedule="nightly"} 3x20 5x20`, at: 3 * h},
	},
	"CHTScheduleOverdue": {
		{name: "by 40 minutes", series: `schedule_next_run_timestamp_seconds{OURS,namespace="medic",schedule="nightly"} 600x90`, at: 50 * m, want: []string{"namespace=medic,schedule=nightly"}},
		{name: "by 20", series: `schedule_next_run_timestamp_seconds{OURS,namespace="medic",schedule="nightly"} 600x90`, at: 30 * m},
		{name: "begun", series: `schedule_next_run_timestamp_seconds{OURS,namespace="medic",schedule="nightly"} 600x10 87000x90`, at: 60 * m},
		{name: "suspended: none is due", series: `schedule_next_run_timestamp_seconds{OURS,namespace="medic",schedule="nightly"} 600x5 stale`, at: 50 * m},
		{name: "of another release", series: `schedule_next_run_timestamp_seconds{OTHER,namespace="medic",schedule="nightly"} 600x90`, at: 50 * m},
	},
	"CHTScheduleSuspended": {
		{name: "of another release", step: 10 * m, series: `schedule_suspended{OTHER,namespace="medic",schedule="nightly"} 1x600`, at: 96 * h},
		{name: "for four days", step: 10 * m, series: `schedule_suspended{OURS,namespace="medic",schedule="nightly"} 1x600`, at: 96 * h, want: []string{"namespace=medic,schedule=nightly"}},
		{name: "for two", step: 10 * m, series: `schedule_suspended{OURS,namespace="medic",schedule="nightly"} 1x600`, at: 48 * h},
		{name: "never", step: 10 * m, series: `schedule_suspended{OURS,namespace="medic",schedule="nightly"} 0x600`, at: 96 * h},
	},
	"CHTCatalogUnreachable": {
		{name: "not for half an hour yet", series: `catalog_reachable{OURS} 0x60`, at: 20 * m},
		{name: "away", series: `catalog_reachable{OURS} 1x5 0x60`, at: 50 * m, want: []string{"job=cht-backup-system/cht-backup"}},
		{name: "away for ten minutes", series: `catalog_reachable{OURS} 1x5 0x10 1x60`, at: h},
		{name: "none is configured", series: `build_info{OURS} 1x60`, at: h},
		{name: "another release's", series: `catalog_reachable{OTHER} 0x60`, at: h},
		{name: "away over a restart", series: `catalog_reachable{OURS} 0x20 stale
			catalog_reachable{LATER} _x24 0x40`, at: 40 * m, want: []string{"job=cht-backup-system/cht-backup"}},
	},
	"CHTCatalogBehind": {
		{name: "for three hours", step: 5 * m, series: `catalog_records_missing{OURS,namespace="medic"} 1x60
			catalog_records_missing{OURS,namespace="fine"} 0x60`, at: 3 * h, want: []string{"namespace=medic"}},
		{name: "for one", step: 5 * m, series: `catalog_records_missing{OURS,namespace="medic"} 1x60`, at: h},
		{name: "each is written within the hour", step: 5 * m, series: `catalog_records_missing{OURS,namespace="medic"} 1x10 0x5 1x10 0x5 1x30`, at: 3 * h},
		{name: "of another release", step: 5 * m, series: `catalog_records_missing{OTHER,namespace="medic"} 1x60`, at: 3 * h},
	},
	"CHTCopiesBehind": {
		{name: "not for a quarter of an hour yet", series: `copies_incomplete_since_timestamp_seconds{OURS,namespace="medic"} -90000x60`, at: 10 * m},
		{name: "since yesterday", series: `copies_incomplete_since_timestamp_seconds{OURS,namespace="medic"} -90000x60`, at: 20 * m, want: []string{"namespace=medic"}},
		{name: "under way", series: `copies_incomplete_since_timestamp_seconds{OURS,namespace="medic"} -3600x60`, at: h},
		{name: "done", series: `copies_incomplete_since_timestamp_seconds{OURS,namespace="medic"} -90000x20 stale`, at: h},
		{name: "of another release", series: `copies_incomplete_since_timestamp_seconds{OTHER,namespace="medic"} -90000x60`, at: h},
	},
	"CHTFileCopyLate": {
		{name: "for 27 hours", step: 10 * m, series: `schedule_file_copy_due_timestamp_seconds{OURS,namespace="medic",schedule="nightly"} 0x200`, at: 27 * h, want: []string{"namespace=medic,schedule=nightly"}},
		{name: "for a day", step: 10 * m, series: `schedule_file_copy_due_timestamp_seconds{OURS,namespace="medic",schedule="nightly"} 0x200`, at: 24 * h},
		{name: "a copy came", step: 10 * m, series: `schedule_file_copy_due_timestamp_seconds{OURS,namespace="medic",schedule="nightly"} 0x100 360000x100`, at: 27 * h},
		{name: "none is wanted", series: `build_info{OURS} 1x60`, at: h},
		{name: "of another release", step: 10 * m, series: `schedule_file_copy_due_timestamp_seconds{OTHER,namespace="medic",schedule="nightly"} 0x200`, at: 27 * h},
	},
	"CHTFileCopyFailing": {
		{name: "just now", series: `file_copy_failures{OURS,namespace="medic",reason="CopierLost"} 1x5 2x20`, at: 8 * m},
		{name: "twice", series: `file_copy_failures{OURS,namespace="medic",reason="CopierLost"} 1x5 2x20
			file_copy_failures{OURS,namespace="medic",reason="RepositoryFailed"} 1x20`, at: 15 * m, want: []string{"namespace=medic,reason=CopierLost"}},
		{name: "once", series: `file_copy_failures{OURS,namespace="medic",reason="CopierLost"} 1x60`, at: h},
		{name: "a copy came", series: `file_copy_failures{OURS,namespace="medic",reason="CopierLost"} 3x10 stale`, at: 30 * m},
		{name: "over a restart", series: `file_copy_failures{OURS,namespace="medic",reason="CopierLost"} 2x3 stale
			file_copy_failures{LATER,namespace="medic",reason="CopierLost"} _x6 2x10`, at: 8 * m, want: []string{"namespace=medic,reason=CopierLost"}},
		{name: "of another release", series: `file_copy_failures{OTHER,namespace="medic",reason="CopierLost"} 5x60`, at: h},
	},
	"CHTBackupDown": {
		{name: "down", series: `up{OURS} 1x5 0x20`, at: 20 * m, want: []string{"job=cht-backup-system/cht-backup"}},
		{name: "not there at all", series: `up{OTHER} 1x30`, at: 20 * m, want: []string{"job=cht-backup-system/cht-backup"}},
		{name: "up", series: `up{OURS} 1x30`, at: 20 * m},
		{name: "a rollout", series: `up{OURS} 1x5 0x1 stale
			up{LATER} _x7 1x20`, at: 20 * m},
		{name: "a restart of five minutes", series: `up{OURS} 1x5 0x5 1x20`, at: 25 * m},
		{name: "down just now", series: `up{OURS} 1x5 0x20`, at: 9 * m},
	},
}

func TestAlerts(t *testing.T) {
	told := map[string]bool{}
	for _, rule := range rulesOf(t, withRules, system) {
		told[rule.Alert] = true
		fires, quiet := 0, 0
		for _, s := range scenarios[rule.Alert] {
			t.Run(rule.Alert+"/"+s.name, func(t *testing.T) {
				got, faults := s.run(t, rule)
				if !slices.Equal(got, s.want) {
					t.Errorf("after %s there fire %q, want %q", s.at, got, s.want)
				}
				for _, f := range faults {
					t.Error(f)
				}
			})
			if len(s.want) > 0 {
				fires++
			} else {
				quiet++
			}
		}
		if fires == 0 || quiet == 0 {
			t.Errorf("%s: %d scenarios in which it fires, %d in which it does not; there must be both", rule.Alert, fires, quiet)
		}
	}
	for alert := range scenarios {
		if !told[alert] {
			t.Errorf("there is no alert %s", alert)
		}
	}
}

// What an alert asks is what matters: turned round, or with another release's job, or
// without its `for`, it fails a scenario.
func TestMutatedAlertsAreFound(t *testing.T) {
	compares := regexp.MustCompile(` (>=|>|==) `)
	for _, rule := range rulesOf(t, withRules, system) {
		mutants := map[string]rulefmt.Rule{}
		add := func(what string, change func(*rulefmt.Rule)) {
			mutant := rule
			change(&mutant)
			mutants[what] = mutant
		}
		add("turned round", func(r *rulefmt.Rule) {
			r.Expr = compares.ReplaceAllStringFunc(r.Expr, func(c string) string { return map[string]string{" > ": " < ", " >= ": " < ", " == ": " != "}[c] })
		})
		add("of any release", func(r *rulefmt.Rule) {
			r.Expr = strings.ReplaceAll(r.Expr, `job="cht-backup-system/cht-backup"`, `job!=""`)
		})
		if rule.For > 0 {
			add("at once", func(r *rulefmt.Rule) { r.For = 0 })
			add("much later", func(r *rulefmt.Rule) { r.For *= 50 })
		}
		if threshold := regexp.MustCompile(`\d+ \* (3600|86400|60)|> \d+$|>= \d+$`); threshold.MatchString(rule.Expr) && !strings.HasSuffix(rule.Expr, "> 0") {
			add("at a hundredth", func(r *rulefmt.Rule) { r.Expr = threshold.ReplaceAllString(r.Expr, "${0} / 100") })
			add("at a hundredfold", func(r *rulefmt.Rule) { r.Expr = threshold.ReplaceAllString(r.Expr, "${0} * 100") })
		}
		for what, mutant := range mutants {
			found := slices.ContainsFunc(scenarios[rule.Alert], func(s scenario) bool { return !s.holds(t, mutant) })
			if !found {
				t.Errorf("%s: %s, and no scenario fails", rule.Alert, what)
			}
		}
	}
}
