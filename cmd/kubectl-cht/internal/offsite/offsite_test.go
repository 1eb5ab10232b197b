package offsite

import (
	"strings"
	"testing"
	"time"

	api "github.com/medic/cht-backup/api/v1alpha1"
)

func TestParseAsOf(t *testing.T) {
	for text, want := range map[string]string{
		"2026-03-01T06:30:00Z":           "2026-03-01T06:30:00Z",
		"2026-03-01T06:30:00+03:00":      "2026-03-01T03:30:00Z",
		"2026-03-01T06:30:00.123456789Z": "2026-03-01T06:30:00.123456789Z",
		"2026-03-01":                     "2026-03-01T23:59:59.999999999Z",
	} {
		got, err := ParseAsOf(text)
		if err != nil || got.UTC().Format(time.RFC3339Nano) != want {
			t.Errorf("%s: %s, %v; want %s", text, got.UTC().Format(time.RFC3339Nano), err, want)
		}
	}
	for _, text := range []string{"", "yesterday", "2026-03-01T06:30:00", "2026-03-01 06:30", "01.03.2026", "2026-02-30"} {
		if _, err := ParseAsOf(text); err == nil || !strings.Contains(err.Error(), "RFC 3339") {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func at(text string) time.Time {
	t, err := time.Parse(time.RFC3339, text)
	if err != nil {
		panic(err)
	}
	return t
}

var kept = []Entry{
	{Namespace: "medic", Name: "a", UID: "u1", Cut: at("2026-03-01T01:00:00Z")},
	{Namespace: "medic", Name: "b", UID: "u2", Cut: at("2026-03-02T01:00:00Z")},
	{Namespace: "medic", Name: "c", UID: "u3", Cut: at("2026-03-03T01:00:00Z")},
	{Namespace: "medic", Name: "a", UID: "u4", Cut: at("2026-03-04T01:00:00Z")},
	{Namespace: "other", Name: "c", UID: "u5", Cut: at("2026-03-05T01:00:00Z")},
	{Namespace: "medic", Name: "torn", UID: "u6", Cut: at("2026-03-06T01:00:00Z"), Broken: "its key is not one"},
}

func TestChoose(t *testing.T) {
	good := Detail{Cluster: "one", Consistency: api.Consistent}
	crash := Detail{Cluster: "one", Consistency: api.CrashConsistent}
	torn := Detail{Broken: "its SHA-256 is another"}
	two := Detail{Cluster: "two", Consistency: api.Consistent}
	tests := []struct {
		name    string
		want    Wanted
		details map[string]Detail // of UIDs; the rest is good
		uid     string
		says    string // in the error
		skipped int
	}{
		{name: "the newest, past the torn one", want: Wanted{Namespace: "medic"}, uid: "u4", skipped: 1},
		{name: "past a crash-consistent and a damaged one", want: Wanted{Namespace: "medic"}, details: map[string]Detail{"u4": crash, "u3": torn}, uid: "u2", skipped: 3},
		{name: "as of", want: Wanted{Namespace: "medic", AsOf: at("2026-03-03T00:59:59Z")}, uid: "u2"},
		{name: "as of exactly the cut", want: Wanted{Namespace: "medic", AsOf: at("2026-03-03T01:00:00Z")}, uid: "u3"},
		{name: "as of, the one before when the newest is bad", want: Wanted{Namespace: "medic", AsOf: at("2026-03-03T02:00:00Z")}, details: map[string]Detail{"u3": torn}, uid: "u2", skipped: 1},
		{name: "before all", want: Wanted{Namespace: "medic", AsOf: at("2026-02-01T00:00:00Z")}, says: "the oldest is a u1"},
		{name: "one name", want: Wanted{Namespace: "medic", Name: "b"}, uid: "u2"},
		{name: "named, crash-consistent", want: Wanted{Namespace: "medic", Name: "b"}, details: map[string]Detail{"u2": crash}, uid: "u2"},
		{name: "named, broken", want: Wanted{Namespace: "medic", Name: "torn"}, says: "cannot be restored: its key"},
		{name: "named, damaged", want: Wanted{Namespace: "medic", Name: "b"}, details: map[string]Detail{"u2": torn}, says: "SHA-256"},
		{name: "two of a name", want: Wanted{Namespace: "medic", Name: "a"}, says: "--uid: a u4 (cut 2026-03-04T01:00:00Z), a u1"},
		{name: "two of a name, by UID", want: Wanted{Namespace: "medic", Name: "a", UID: "u1"}, uid: "u1"},
		{name: "two of a name, by time", want: Wanted{Namespace: "medic", Name: "a", AsOf: at("2026-03-02T00:00:00Z")}, uid: "u1"},
		{name: "another UID", want: Wanted{Namespace: "medic", Name: "a", UID: "u9"}, says: "no record with UID u9"},
		{name: "by UID alone, crash-consistent", want: Wanted{Namespace: "medic", UID: "u3"}, details: map[string]Detail{"u3": crash}, uid: "u3"},
		{name: "no such namespace", want: Wanted{Namespace: "x"}, says: "namespaces medic, other"},
		{name: "no such name", want: Wanted{Namespace: "medic", Name: "x"}, says: "no backup medic/x"},
		{name: "two clusters", want: Wanted{Namespace: "medic"}, details: map[string]Detail{"u2": two}, says: "--cluster: one (newest 2026-03-04T01:00:00Z), two (newest 2026-03-02T01:00:00Z)"},
		{name: "two clusters, chosen", want: Wanted{Namespace: "medic", Cluster: "two"}, details: map[string]Detail{"u2": two}, uid: "u2", skipped: 1},
		{name: "two clusters, neither", want: Wanted{Namespace: "medic", Cluster: "three"}, says: "no good backup"},
		{name: "named, of another cluster", want: Wanted{Namespace: "medic", Name: "b", Cluster: "two"}, says: "taken by cluster one"},
		{name: "none good", want: Wanted{Namespace: "other"}, details: map[string]Detail{"u5": crash}, says: "name it to restore it"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			detail := func(e Entry) Detail {
				if d, ok := tt.details[string(e.UID)]; ok {
					return d
				}
				return good
			}
			among, err := tt.want.Among(kept)
			var picked Entry
			var skipped []string
			if err == nil {
				err = tt.want.OneCluster(among, detail)
			}
			if err == nil {
				picked, skipped, err = tt.want.Pick(among, detail)
			}
			if tt.says != "" {
				if err == nil || !strings.Contains(err.Error(), tt.says) {
					t.Fatalf("got %+v, %v; want an error with %q", picked, err, tt.says)
				}
				return
			}
			if err != nil || string(picked.UID) != tt.uid || len(skipped) != tt.skipped {
				t.Errorf("got %s, skipped %q, %v; want %s with %d skipped", picked.UID, skipped, err, tt.uid, tt.skipped)
			}
		})
	}
}
