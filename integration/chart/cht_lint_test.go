package chart

import (
	"strings"
	"testing"

	"helm.sh/helm/v3/pkg/lint"
	"helm.sh/helm/v3/pkg/lint/support"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"sigs.k8s.io/yaml"
)

// TestHelmLint is `helm lint` of both charts.
func TestHelmLint(t *testing.T) {
	for folder, values := range map[string]map[string]any{chtFolder: chtValues(t, ""), "../../charts/cht-backup": {}} {
		for _, m := range lint.All(folder, values, "clinic", true).Messages {
			if m.Severity > support.InfoSev {
				t.Errorf("%s: %v", folder, m)
			}
		}
	}
	bad := chtValues(t, "couchdb: {nodes: 0}")
	if lint.All(chtFolder, bad, "clinic", true).HighestSeverity < support.ErrorSev {
		t.Error("helm lint accepts what the schema refuses")
	}
}

func scheduleOf(t *testing.T, values string) *api.BackupSchedule {
	t.Helper()
	o := renderCHT(t, values).Find("BackupSchedule", "nightly")
	if o == nil {
		return nil
	}
	raw, err := yaml.Marshal(o.Object)
	if err != nil {
		t.Fatal(err)
	}
	s := &api.BackupSchedule{}
	if err := yaml.UnmarshalStrict(raw, s); err != nil {
		t.Fatalf("%s: %v", values, err)
	}
	return s
}

func TestNightlySchedule(t *testing.T) {
	s := scheduleOf(t, "")
	if s == nil || s.Namespace != "clinic" || s.Spec.Schedule != "30 1 * * *" || s.Spec.TimeZone != "Etc/UTC" || s.Spec.Jitter == nil || s.Spec.Suspend || s.Spec.Drill != nil || s.Spec.FileCopySchedule != nil ||
		*s.Spec.Retention.KeepDaily != 7 || *s.Spec.Retention.KeepWeekly != 4 || *s.Spec.Retention.KeepMonthly != 12 || s.Spec.Retention.KeepLast != nil {
		t.Errorf("by default %+v", s)
	}
	s = scheduleOf(t, `backup: {schedule: "@every 6h", fileCopySchedule: "0 1 * * 0", timeZone: Africa/Nairobi, jitter: "", suspend: true, keep: {last: 3, hourly: 24, daily: 0, weekly: 0, monthly: 0, yearly: 2, within: 14d},
  drill: {enabled: true, schedule: "@weekly", verify: Full, remap: {storageClassName: slow}}, spec: {method: EBS, maxStall: 20s}}`)
	r := s.Spec.Retention
	if s.Spec.FileCopySchedule == nil || *s.Spec.FileCopySchedule != "0 1 * * 0" {
		t.Errorf("files are copied at %v", s.Spec.FileCopySchedule)
	}
	if s.Spec.Schedule != "@every 6h" || s.Spec.TimeZone != "Africa/Nairobi" || s.Spec.Jitter != nil || !s.Spec.Suspend || *r.KeepLast != 3 || *r.KeepHourly != 24 || r.KeepDaily != nil || *r.KeepYearly != 2 || r.KeepWithin != "14d" {
		t.Errorf("schedule and retention come out as %+v", s.Spec)
	}
	if s.Spec.Drill.Schedule != "@weekly" || s.Spec.Drill.Verify != api.VerifyFull || s.Spec.Drill.Remap == nil || s.Spec.Drill.Remap.StorageClassName != "slow" || s.Spec.Template.Spec.Method != api.MethodEBS || s.Spec.Template.Spec.MaxStall.Seconds() != 20 {
		t.Errorf("drill and template come out as %+v", s.Spec)
	}
	if s := scheduleOf(t, "backup: {keep: {daily: 0, weekly: 0, monthly: 0}}"); s.Spec.Retention != nil {
		t.Errorf("keep nothing in particular is %+v, which the API refuses", s.Spec.Retention)
	}
	if scheduleOf(t, "backup: {enabled: false}") != nil {
		t.Error("a schedule is made though it is off")
	}
	whole := renderCHT(t, "cht-backup: {enabled: true}")
	for _, kind := range whole.CRDs {
		if !strings.HasSuffix(kind.GetName(), ".backup.communityhealthtoolkit.org") {
			t.Errorf("CRD %s", kind.GetName())
		}
	}
	if len(whole.CRDs) != 3 {
		t.Error("the definitions do not come with the dependency")
	}
}
