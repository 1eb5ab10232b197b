package metrics

import (
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	dto "github.com/prometheus/client_model/go"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	api "github.com/medic/cht-backup/api/v1alpha1"
)

// everything brings each family about at least once.
func everything(t *testing.T) map[string]*dto.MetricFamily {
	t.Helper()
	s := &api.BackupSchedule{ObjectMeta: metav1.ObjectMeta{Namespace: "all", Name: "nightly", CreationTimestamp: *second(0)}}
	s.Status = api.BackupScheduleStatus{Backups: api.RunStatus{NextTime: second(hour)}, LastSuccessfulTime: second(0)}
	good := backup("all", "a", 0, provenAt(hour, 1), func(b *api.Backup) {
		b.Status.LockedUntil, b.Status.Catalog = second(day), &api.CatalogStatus{Time: second(0)}
		b.Spec.EBS = &api.EBSPolicy{Copies: []api.EBSCopy{{Name: "dr"}}}
	})
	s.Spec.FileCopySchedule = new(api.CronExpression("0 1 * * *"))
	CopiesDue(func(*api.BackupSchedule, time.Time) time.Time { return epoch.Add(day) })
	copied := backup("all", "c", -hour, withFiles)
	notCopied(api.ReasonCopierLost)(good)
	bad := backup("all", "b", hour, failedFor(api.ReasonReadyTimeout))
	done := drill("all", "d", api.PhaseCompleted, "", hour)
	there(t, func(*api.Backup) bool { return true }, s, good, bad, copied, done)
	BackupEnded(good)
	BackupEnded(bad)
	BackupEnded(copied)
	AttemptFailed(bad, api.ReasonThrottled)
	RestoreEnded(done)
	RestoreEnded(drill("all", "r", api.PhaseCompleted, "", hour, func(r *api.Restore) { r.Spec.Drill = nil }))
	Stalled(time.Second)
	t.Cleanup(Holding("all", epoch))
	CatalogAnswered(true)
	BuiltAs("1.2.3")
	found := map[string]*dto.MetricFamily{}
	for _, f := range gather(t) {
		found[f.GetName()] = f
	}
	return found
}

// Families tells what is served, with the same words.
func TestFamiliesAreServed(t *testing.T) {
	served := everything(t)
	for _, f := range Families() {
		s := served[f.Name]
		if s == nil {
			t.Errorf("%s is not served", f.Name)
			continue
		}
		var labels []string
		for _, l := range s.Metric[0].Label {
			labels = append(labels, l.GetName())
		}
		want := slices.Sorted(slices.Values(f.Labels))
		if s.GetHelp() != f.Help || !strings.EqualFold(s.GetType().String(), string(f.Kind)) || !slices.Equal(labels, want) {
			t.Errorf("%s is served as %s %v %q, declared as %+v", f.Name, s.GetType(), labels, s.GetHelp(), f)
		}
		delete(served, f.Name)
	}
	for name := range served {
		if strings.HasPrefix(name, "cht_") {
			t.Errorf("%s is served and not declared", name)
		}
	}
}

func TestPromlint(t *testing.T) {
	var ours []*dto.MetricFamily
	for name, f := range everything(t) {
		if strings.HasPrefix(name, "cht_") {
			ours = append(ours, f)
		}
	}
	problems, err := promlint.NewWithMetricFamilies(ours).Lint()
	if err != nil || len(ours) != len(Families()) {
		t.Fatalf("%d of %d families, %v", len(ours), len(Families()), err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
}

// A label has few values: what a namespace and a schedule are called is bounded by the
// objects there are, reason and result by constants, build_info has one series.
func TestLabelsAreBounded(t *testing.T) {
	allowed := []string{namespaceLabel, scheduleLabel, resultLabel, reasonLabel}
	for _, f := range Families() {
		for _, l := range f.Labels {
			if !slices.Contains(allowed, l) && f.Name != "cht_backup_build_info" {
				t.Errorf("%s has label %s; allowed are %v", f.Name, l, allowed)
			}
			if f.Kind == Histogram && l == namespaceLabel {
				t.Errorf("%s: buckets for each namespace", f.Name)
			}
		}
	}
}

// The words that may stand in the label reason are the constants of the API.
func TestReasonsAreTheConstants(t *testing.T) {
	want := map[string]bool{}
	files, err := filepath.Glob("../../api/v1alpha1/*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range files {
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, func(n ast.Node) bool {
			if v, ok := n.(*ast.ValueSpec); ok && len(v.Values) == 1 && strings.HasPrefix(v.Names[0].Name, "Reason") {
				if lit, ok := v.Values[0].(*ast.BasicLit); ok && lit.Kind == token.STRING {
					word, err := strconv.Unquote(lit.Value)
					if err != nil {
						t.Fatal(err)
					}
					want[word] = true
				}
			}
			return true
		})
	}
	if len(want) < 50 || !maps.Equal(want, reasons) {
		for w := range want {
			if !reasons[w] {
				t.Errorf("constant %s is missing here", w)
			}
		}
		t.Errorf("%d constants, %d reasons", len(want), len(reasons))
	}
}

// Each metric stands in docs/metrics.md in a line with its labels and its kind, and no
// other does.
func TestDocumented(t *testing.T) {
	text, err := os.ReadFile("../../docs/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	rows := map[string]string{}
	for _, m := range regexp.MustCompile("(?m)^\\| `(cht_backup_[a-z_]+)(\\{[a-z,]+\\})?` \\| ([a-z]+) \\| (.+) \\|$").FindAllStringSubmatch(string(text), -1) {
		rows[m[1]] = m[2] + " " + m[3]
	}
	known := map[string]bool{}
	for _, f := range Families() {
		want := " " + string(f.Kind)
		if len(f.Labels) > 0 {
			want = "{" + strings.Join(f.Labels, ",") + "}" + want
		}
		if rows[f.Name] != want {
			t.Errorf("docs/metrics.md: the row of %s says %q, want %q", f.Name, rows[f.Name], want)
		}
		known[f.Name] = true
	}
	pages, err := filepath.Glob("../../docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	suffix := regexp.MustCompile(`_(bucket|sum|count)$`)
	for _, page := range pages {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range regexp.MustCompile(`cht_backup_[a-z_]+`).FindAllString(string(text), -1) {
			if !known[name] && !known[suffix.ReplaceAllString(name, "")] {
				t.Errorf("%s speaks of %s, which is not served", page, name)
			}
		}
	}
}
