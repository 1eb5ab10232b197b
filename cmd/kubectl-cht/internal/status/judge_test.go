package status

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	api "github.com/medic/cht-backup/api/v1alpha1"
)

func TestGrowth(t *testing.T) {
	const mib = 1 << 20
	for _, tt := range []struct {
		name    string
		backups []any
		want    *Growth
	}{
		{"a week", []any{good(0, sized(171*mib)), good(day, sized(1)), good(7*day, sized(101*mib)), good(8*day, sized(1))}, &Growth{10 * mib, "b-168h0m0s", 7 * 86400}},
		{"nearest to a week", []any{good(0, sized(90*mib)), good(2*day, sized(1)), good(9*day, sized(0)), good(20*day, sized(1))}, &Growth{10 * mib, "b-216h0m0s", 9 * 86400}},
		{"less than a week", []any{good(0, sized(30*mib)), good(3*day, sized(0)), good(2*day, sized(1))}, &Growth{10 * mib, "b-72h0m0s", 3 * 86400}},
		{"compacted", []any{good(0, sized(0)), good(day, sized(10*mib))}, &Growth{-10 * mib, "b-24h0m0s", 86400}},
		{"minutes say nothing", []any{good(0), good(10 * time.Minute)}, nil},
		{"one alone", []any{good(0)}, nil},
		{"no size", []any{good(0, func(b *api.Backup) { b.Status.DataBytes = nil }), good(day)}, nil},
		{"no size before", []any{good(0), good(day, func(b *api.Backup) { b.Status.DataBytes = nil })}, nil},
		{"failed ones have none", []any{good(0, sized(10*mib)), good(day, sized(0)), failed(7 * day)}, &Growth{10 * mib, "b-24h0m0s", 86400}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := fleetOf(t, tt.backups...).Report(now).Instances[0].Growth
			if (got == nil) != (tt.want == nil) || got != nil && *got != *tt.want {
				t.Errorf("%+v, want %+v", got, tt.want)
			}
		})
	}
}

func TestWhatIsKnown(t *testing.T) {
	weekly := nightly(func(s *api.BackupSchedule) {
		s.Name, s.Spec.TimeZone = "weekly", "Africa/Nairobi"
		s.Status.Backups.NextTime = &metav1.Time{Time: now.Add(time.Hour)}
	})
	manual := good(2*time.Hour, func(b *api.Backup) { b.Name = "manual" })
	scheduled := good(12*time.Hour, proven(5*time.Hour), func(b *api.Backup) { b.Labels = map[string]string{api.ScheduleLabel: "nightly"} })
	running := good(time.Minute, func(b *api.Backup) { b.Name, b.Status = "now", api.BackupStatus{Phase: api.PhaseCutting} })
	in := fleetOf(t, nightly(), weekly, running, manual, scheduled, failed(time.Hour)).Report(now).Instances[0]
	if g := in.LastGood; g.Name != "manual" || g.Schedule != "" || *g.DataBytes != 1<<30 || *in.RecoveryPointAgeSeconds != 7200 || !in.RecoveryPointTime.Equal(ago(2*time.Hour)) {
		t.Errorf("last good %+v, %d s", g, *in.RecoveryPointAgeSeconds)
	}
	if p := in.LastVerified; p.Backup != scheduled.Name || p.Level != api.VerifyFull || p.RestoreMilliseconds != 65_000 {
		t.Errorf("proof %+v", p)
	}
	if n := in.NextRun; n.Schedule != "weekly" || n.TimeZone != "Africa/Nairobi" {
		t.Errorf("next %+v", n)
	}
	if in.Running != "now" || in.Backups != (Tally{Good: 2, Failed: 1}) || !slices.Equal(in.Schedules, []string{"nightly", "weekly"}) {
		t.Errorf("%+v", in)
	}
}

func TestWorstFirst(t *testing.T) {
	in := func(namespace string, b *api.Backup) *api.Backup { b.Namespace = namespace; return b }
	of := func(namespace string) *api.BackupSchedule {
		return nightly(func(s *api.BackupSchedule) { s.Namespace = namespace })
	}
	f := &Fleet{}
	for _, b := range []*api.Backup{in("fine", lastNight()), in("old", good(9*day, proven(day))), in("older", good(10*day, proven(day))), in("unproven", good(12*time.Hour)), in("also-fine", lastNight())} {
		f.AddBackup(b)
		f.AddSchedule(of(b.Namespace))
	}
	f.AddCHT("never")
	f.AddCHT("clone")
	f.AddRestore(restoreOf("clone", api.RestoreSpec{}, api.PhaseCompleted))
	f.AddRestore(restoreOf("fine", api.RestoreSpec{}, api.PhaseFailed)) // backed up: no clone
	f.AddNamespace("asked-for")
	r := f.Report(now)
	var got []string
	for _, i := range r.Instances {
		got = append(got, i.Namespace)
	}
	if want := []string{"asked-for", "never", "older", "old", "unproven", "also-fine", "fine"}; !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	if !slices.Equal(r.Clones, []string{"clone"}) || r.InTrouble() != 5 {
		t.Errorf("clones %v, %d in trouble", r.Clones, r.InTrouble())
	}
}

// The names are an interface.
func TestJSON(t *testing.T) {
	raw, err := json.Marshal(fleetOf(t, nightly(), lastNight(), good(9*day, sized(1)), failed(time.Hour)).Report(now))
	if err != nil {
		t.Fatal(err)
	}
	want := `{"version":1,"time":"2026-03-10T14:00:00Z","instances":[{"namespace":"medic","state":"warning",` +
		`"lastGood":{"name":"b-12h0m0s","cutTime":"2026-03-10T02:00:00Z","consistency":"Consistent","stallMilliseconds":210,"dataBytes":1073741824,"documents":5000},` +
		`"recoveryPointTime":"2026-03-10T02:00:00Z","recoveryPointAgeSeconds":43200,` +
		`"lastVerified":{"backup":"b-12h0m0s","level":"Full","time":"2026-03-07T14:00:00Z","restoreMilliseconds":65000},` +
		`"nextRun":{"schedule":"nightly","time":"2026-03-11T02:00:00Z","timeZone":"Etc/UTC"},` +
		`"growth":{"bytesPerDay":126322567,"since":"b-216h0m0s","overSeconds":734400},` +
		`"backups":{"good":2,"failed":1,"held":0},"schedules":["nightly"],` +
		`"trouble":[{"level":"warning","code":"BackupsFailed","words":"last backup failed: PodNotReady","detail":"couchdb-2 is not ready"}]}]}`
	if string(raw) != want {
		t.Errorf("got  %s\nwant %s", raw, want)
	}
	if raw, _ := json.Marshal((&Fleet{}).Report(now)); !strings.Contains(string(raw), `"instances":[]`) {
		t.Errorf("%s", raw)
	}
}

func TestMessagesAreBounded(t *testing.T) {
	f := failed(time.Hour)
	f.Status.Conditions[0].Message = strings.Repeat("é", 5000)
	if d := fleetOf(t, f).Report(now).Instances[0].Trouble[1].Detail; len([]rune(d)) != longest+1 {
		t.Errorf("%d characters", len([]rune(d)))
	}
}
