package main

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	api "github.com/medic/cht-backup/api/v1alpha1"
)

var first = time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)

func TestOptions(t *testing.T) {
	o, err := parse(nil)
	if err != nil || o.instances*o.hours != 3360 {
		t.Fatalf("%+v, %v", o, err)
	}
	var killed, after []int
	for h := range o.hours {
		if n, yes := o.killed(h); yes {
			killed, after = append(killed, h), append(after, n)
		}
	}
	if len(killed) != o.kills || killed[0] != 2 || killed[5] >= o.quietFrom() || o.quietFrom() != 24 || after[0] != 0 || after[5] != 16 {
		t.Errorf("killed in hours %v, after %v backups, and not from %d on", killed, after, o.quietFrom())
	}
	for _, wrong := range []string{"--instances=0", "--instances=999", "--hours=1", "--kills=-1", "--keep-daily=0", "--parallel=0", "more"} {
		if _, err := parse([]string{wrong}); err == nil {
			t.Errorf("%s was taken", wrong)
		}
	}
	if _, err := parse([]string{"--hours=10", "--kills=2"}); err == nil {
		t.Error("more kills than hours were taken")
	}
}

// backup is that of an instance for an hour.
func backup(instance string, hour int, uid string, change ...func(*api.Backup)) *api.Backup {
	at := first.Add(time.Duration(hour) * time.Hour)
	cut := metav1.NewMicroTime(at.Add(time.Second))
	b := &api.Backup{ObjectMeta: metav1.ObjectMeta{Namespace: instance, Name: fmt.Sprint(instance, hour), UID: types.UID(uid),
		Annotations: map[string]string{api.ScheduledAtAnnotation: at.Format(time.RFC3339)}}}
	b.Status = api.BackupStatus{Phase: api.PhaseCompleted, Consistency: api.Consistent, QuiesceMode: api.QuiescePause, Attempt: 1, Catalog: &api.CatalogStatus{},
		Conditions: []metav1.Condition{{Type: api.ConditionReady, Status: metav1.ConditionTrue}}, Volumes: []api.VolumeStatus{{CutTime: &cut}}}
	for _, c := range change {
		c(b)
	}
	return b
}

func TestLedger(t *testing.T) {
	for name, c := range map[string]struct {
		seen []*api.Backup
		want string // in what is wrong; "" for nothing
	}{
		"one each":      {[]*api.Backup{backup("a", 0, "1"), backup("a", 1, "2")}, ""},
		"lost":          {[]*api.Backup{backup("a", 0, "1")}, "a has no backup for 2026-03-01T01:00:00Z: it was lost"},
		"twice":         {[]*api.Backup{backup("a", 0, "1"), backup("a", 0, "2"), backup("a", 1, "3")}, "a has 2 backups for 2026-03-01T00:00:00Z"},
		"when none was": {[]*api.Backup{backup("a", 0, "1"), backup("a", 1, "2"), backup("a", 9, "3")}, `a has a backup for "2026-03-01T09:00:00Z", when none was due`},
		"under way": {[]*api.Backup{backup("a", 0, "1"), backup("a", 1, "2", func(b *api.Backup) { b.Status.Phase = api.PhaseFinishing })},
			"the backup of a for 2026-03-01T01:00:00Z never ended"},
		"not in the catalog": {[]*api.Backup{backup("a", 0, "1"), backup("a", 1, "2", func(b *api.Backup) { b.Status.Catalog = nil })}, "never ended"},
		"failed": {[]*api.Backup{backup("a", 0, "1"), backup("a", 1, "2", func(b *api.Backup) {
			b.Status.Phase, b.Status.Conditions[0].Status, b.Status.Conditions[0].Reason = api.PhaseFailed, metav1.ConditionFalse, api.ReasonSnapshotFailed
		})}, "backup a/a1 is Failed"},
		"a slow machine": {[]*api.Backup{backup("a", 0, "1"), backup("a", 1, "2", func(b *api.Backup) {
			b.Status.Phase, b.Status.Conditions[0].Status, b.Status.Conditions[0].Reason = api.PhaseFailed, metav1.ConditionFalse, api.ReasonStallExceeded
		})}, ""},
		"another quiesce": {[]*api.Backup{backup("a", 0, "1"), backup("a", 1, "2", func(b *api.Backup) { b.Status.Consistency = api.CrashConsistent })}, "is CrashConsistent"},
		"not held": {[]*api.Backup{backup("a", 0, "1"), backup("a", 1, "2", func(b *api.Backup) {
			late := metav1.NewMicroTime(first.Add(100 * time.Hour))
			b.Status.Volumes[0].CutTime = &late
		})}, "was not held"},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLedger(func(_ string, at time.Time) bool { return at.Before(first.Add(50 * time.Hour)) })
			for _, b := range c.seen {
				l.OnAdd(b, false)
				l.OnUpdate(b, b)
			}
			wrong := l.wrong([]string{"a"}, first, 2)
			if c.want == "" && len(wrong) > 0 || c.want != "" && (len(wrong) != 1 || !strings.Contains(wrong[0], c.want)) {
				t.Errorf("%v, want %q", wrong, c.want)
			}
		})
	}
	l := newLedger(nil)
	early := backup("a", 0, "1", func(b *api.Backup) { b.Status.Phase = api.PhasePreparing })
	l.OnAdd(early, false)
	l.OnDelete(early)
	if wrong := l.wrong([]string{"a"}, first, 1); len(wrong) != 2 || !strings.Contains(wrong[0], "before it was done") {
		t.Errorf("deleted too early: %v", wrong)
	}
}

func TestUnkept(t *testing.T) {
	l := newLedger(func(string, time.Time) bool { return true })
	for h := range 50 {
		l.OnAdd(backup("a", h, fmt.Sprint(h)), false)
	}
	if wrong := l.unkept([]string{"a"}, first, 50, 3, 2); len(wrong) != 1 {
		t.Errorf("nothing is removed, and that is good: %v", wrong)
	}
	for h := range 50 { // 3 March begins with hour 48; of 2 March the last is kept
		if h < 47 {
			l.OnDelete(backup("a", h, fmt.Sprint(h)))
		}
	}
	if wrong := l.unkept([]string{"a"}, first, 50, 3, 2); len(wrong) > 0 || l.backups() != 3 {
		t.Errorf("%v, %d are there", wrong, l.backups())
	}
	l.OnDelete(backup("a", 49, "49"))
	if wrong := l.unkept([]string{"a"}, first, 50, 3, 2); len(wrong) != 1 {
		t.Errorf("the newest is gone, and that is good: %v", wrong)
	}
}

func TestKeeps(t *testing.T) {
	var good []time.Time
	for h := range 24*3 + 6 {
		good = append(good, first.Add(time.Duration(h)*time.Hour))
	}
	want := []string{"2026-03-03T23:00:00Z", "2026-03-04T04:00:00Z", "2026-03-04T05:00:00Z"}
	if got := keeps(good, 2, 2); !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}

func TestGrown(t *testing.T) {
	hours := func(change func(h int, s *sample)) (all []sample) {
		for h := range 60 {
			kept := uint64(20 + h%24)
			s := sample{hour: h, backups: kept, bucket: 2*kept + 1, objects: []uint64{kept, 0, kept, kept, kept + 3, 14, 3, 3}}
			change(h, &s)
			all = append(all, s)
		}
		return all
	}
	if wrong := grown(hours(func(int, *sample) {})); len(wrong) > 0 {
		t.Errorf("what is accounted for: %v", wrong)
	}
	for name, change := range map[string]func(s *sample){
		"a content that nobody needs": func(s *sample) { s.objects[3]++ },
		"a Secret less":               func(s *sample) { s.objects[4]-- },
		"an object in the bucket":     func(s *sample) { s.bucket++ },
	} {
		wrong := grown(hours(func(h int, s *sample) {
			if h == 40 {
				change(s)
			}
		}))
		if len(wrong) != 1 || !strings.Contains(wrong[0], "hour 40") {
			t.Errorf("%s: %v", name, wrong)
		}
	}
}

func TestTable(t *testing.T) {
	var out bytes.Buffer
	if err := write(&out, []sample{{hour: 3, leader: "l", objects: make([]uint64, len(kinds)), bytes: 7}}); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(out.String(), "\n")
	if strings.Count(lines[0], ",") != strings.Count(lines[1], ",") || !strings.HasPrefix(lines[1], "3,l,0,") || !strings.HasSuffix(lines[1], ",7") {
		t.Errorf("%q", out.String())
	}
}

func TestSum(t *testing.T) {
	text := "# HELP a\nm{verb=\"WATCH\",x=\"1\"} 2\nm{verb=\"LIST\"} 9\nmm{verb=\"WATCH\"} 9\nm{verb=\"WATCH\"} 3\n"
	if n, err := sum(text, "m", `verb="WATCH"`); err != nil || n != 5 {
		t.Errorf("%d, %v", n, err)
	}
	if _, err := sum(text, "other", `verb="WATCH"`); err == nil {
		t.Error("a metric that is not there has a sum")
	}
}

func TestAddresses(t *testing.T) {
	seen := map[string]bool{}
	for i := range most {
		if a := address(instance(i)); seen[a] {
			t.Fatalf("instance %d has the address of another: %s", i, a)
		} else {
			seen[a] = true
		}
	}
}
