package ebs

import (
	"encoding/json"
	"os"
	"slices"
	"testing"

	api "github.com/medic/cht-backup/api/v1alpha1"
	fake "github.com/medic/cht-backup/integration/ec2"
)

// With what the chart's policy allows, and nothing else, a backup is taken and deleted.
func TestTheChartsPolicyIsEnough(t *testing.T) {
	text, err := os.ReadFile("../../charts/cht-backup/files/iam/backup.json")
	if err != nil {
		t.Fatal(err)
	}
	var policy struct {
		Statement []struct{ Action any }
	}
	if err := json.Unmarshal(text, &policy); err != nil {
		t.Fatal(err)
	}
	var allowed []string
	for _, s := range policy.Statement {
		switch a := s.Action.(type) {
		case string:
			allowed = append(allowed, a)
		case []any:
			for _, one := range a {
				if action, ok := one.(string); ok {
					allowed = append(allowed, action)
				}
			}
		}
	}
	one, _ := oneInstance(t, 2, 1)
	for _, w := range []*world{newWorld(t, 2), one} {
		w.Allow(fake.DefaultAccount, allowed)
		b := backup(1)
		volumes, err := w.cut(b)
		if err != nil {
			t.Fatal(err)
		}
		b.Status.Volumes, b.Status.Phase = volumes, api.PhaseCompleted
		if err := w.Mark(t.Context(), b, pointers(volumes)...); err != nil {
			t.Fatal(err)
		}
		if err := w.Keep(t.Context(), b, pointers(volumes)...); err != nil {
			t.Fatal(err)
		}
		w.discard(b)
		for _, need := range w.Needed(fake.DefaultAccount) {
			if !slices.Contains(allowed, need) {
				t.Errorf("%s was needed", need)
			}
		}
		if len(w.left()) != 0 {
			t.Errorf("left behind: %+v", w.left())
		}
	}
	// And one permission less is one too few.
	for _, without := range []string{"ec2:CreateSnapshot", "ec2:CreateTags", "ec2:DescribeVolumes", "ec2:DescribeSnapshots", "ec2:DeleteSnapshot"} {
		w := newWorld(t, 1)
		w.Allow(fake.DefaultAccount, slices.DeleteFunc(slices.Clone(allowed), func(a string) bool { return a == without }))
		b := backup(1)
		p, err := w.Prepare(t.Context(), b, w.nodes)
		if err == nil {
			b.Status.Volumes, err = p.Make(t.Context())
		}
		if err == nil {
			b.Status.Phase = api.PhaseCompleted
			_, err = w.Discard(t.Context(), b)
		}
		if err == nil {
			t.Errorf("%s is not needed at all", without)
		}
	}
}
