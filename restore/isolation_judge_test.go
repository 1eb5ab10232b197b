package restore

import (
	"fmt"
	"strings"
	"testing"

	api "github.com/medic/cht-backup/api/v1alpha1"
)

const (
	up      = api.OutcomeConnected
	silent  = api.OutcomeTimeout
	no      = api.OutcomeRefused
	noRoute = api.OutcomeUnreachable
)

// tried is an address of a probe's report.
func tried(from string, kind api.TargetKind, outcome, control api.Outcome) api.IsolationTarget {
	return api.IsolationTarget{From: from, Kind: kind, Address: "10.0.0.1:1", Outcome: outcome, Control: control, Rounds: 3}
}

func onOwnNode(t api.IsolationTarget) api.IsolationTarget { t.OwnNode = true; return t }

func inRounds(n int32, targets []api.IsolationTarget) []api.IsolationTarget {
	for i := range targets {
		targets[i].Rounds = n
	}
	return targets
}

func TestJudge(t *testing.T) {
	own := func(from string) api.IsolationTarget { return tried(from, api.TargetOwn, up, up) }
	closed := func(from string) []api.IsolationTarget {
		return []api.IsolationTarget{own(from), tried(from, api.TargetSource, silent, up), tried(from, api.TargetAPIServer, no, up)}
	}
	and := func(lists ...[]api.IsolationTarget) (all []api.IsolationTarget) {
		for _, l := range lists {
			all = append(all, l...)
		}
		return all
	}
	one := func(targets ...api.IsolationTarget) []api.IsolationTarget { return targets }
	for _, tt := range []struct {
		name    string
		targets []api.IsolationTarget
		silent  []silence
		want    api.IsolationResult
		says    string
	}{
		{"closed in", and(closed("api"), closed("haproxy")), nil, api.IsolationEnforced, "2 probes (api, haproxy) reached the clone's CouchDB and none of what is denied; up to 2 of"},
		{"only the API server answers the controller", one(own("api"), tried("api", api.TargetSource, silent, silent), tried("api", api.TargetAPIServer, silent, up)), nil, api.IsolationEnforced, "up to 1 of"},
		{"an address that is gone proves nothing, another does", one(own("api"), tried("api", api.TargetSource, silent, ""), tried("api", api.TargetOutside, noRoute, up)), nil, api.IsolationEnforced, "up to 1 of"},
		{"its own node is reached, which is always allowed", append(closed("api"), onOwnNode(tried("api", api.TargetAPIServer, up, up))), nil, api.IsolationEnforced, "their own node"},

		{"the plugin is slow", append(closed("haproxy"), inRounds(9, closed("api"))...), nil, api.IsolationEnforced, "only 6 s after"},

		{"everything is reached", one(own("api"), tried("api", api.TargetSource, up, up), tried("api", api.TargetAPIServer, up, up)), nil, api.IsolationNotEnforced, "api reached 10.0.0.1:1 (Source); api reached 10.0.0.1:1 (APIServer)"},
		{"one thing of many is reached", append(closed("api"), tried("api", api.TargetOutside, up, up)), nil, api.IsolationNotEnforced, "api reached 10.0.0.1:1 (Outside)"},
		{"one workload of many gets out", append(closed("haproxy"), own("api"), tried("api", api.TargetSource, up, up)), nil, api.IsolationNotEnforced, "api reached 10.0.0.1:1 (Source)"},
		{"reached, though the controller cannot", append(closed("api"), tried("api", api.TargetSource, up, silent)), nil, api.IsolationNotEnforced, "(Source)"},
		{"reached, though not its own", one(tried("api", api.TargetOwn, silent, up), tried("api", api.TargetSource, up, up)), nil, api.IsolationNotEnforced, "(Source)"},
		{"reached, and another probe is silent", one(own("api"), tried("api", api.TargetSource, up, up)), []silence{{"haproxy", "no image"}}, api.IsolationNotEnforced, "(Source)"},

		{"no network", one(tried("api", api.TargetOwn, silent, up), tried("api", api.TargetSource, silent, up)), nil, api.IsolationNotProved, "a pod without a network proves nothing"},
		{"nobody is there, as the controller finds", one(own("api"), tried("api", api.TargetSource, silent, silent), tried("api", api.TargetAPIServer, silent, no)), nil, api.IsolationNotProved, "isolation-outside"},
		{"only its own node is there", one(own("api"), onOwnNode(tried("api", api.TargetAPIServer, up, up))), nil, api.IsolationNotProved, "isolation-outside"},
		{"nothing but its own was tried", one(own("api")), nil, api.IsolationNotProved, "isolation-outside"},
		{"its own was not tried", one(tried("api", api.TargetSource, silent, up)), nil, api.IsolationNotProved, "not sent to its own CouchDB"},
		{"evidence for one workload is none for another", append(closed("haproxy"), own("api"), tried("api", api.TargetSource, silent, silent)), nil, api.IsolationNotProved, "the probe of api"},
		{"a probe is silent", closed("haproxy"), []silence{{"api", "ImagePullBackOff"}}, api.IsolationNotProved, "no report of the probe of api (ImagePullBackOff)"},
		{"all are silent", nil, []silence{{"api", "evicted"}}, api.IsolationNotProved, "api (evicted)"},
		{"nothing to probe", nil, nil, api.IsolationNotProved, "nothing to prove it with"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, message := judge(tt.targets, tt.silent)
			if got != tt.want || !strings.Contains(message, tt.says) {
				t.Errorf("%s: %s\nwant %s: …%s…", got, message, tt.want, tt.says)
			}
		})
	}
}

// No single thing that goes wrong with good evidence may leave it good, unless it
// is known to mean nothing.
func TestJudgeNeverErrsOnTheOpenSide(t *testing.T) {
	outcomes := []api.Outcome{up, no, silent, noRoute, ""}
	for _, own := range outcomes {
		for _, source := range outcomes {
			for _, control := range outcomes {
				targets := []api.IsolationTarget{tried("api", api.TargetOwn, own, up), tried("api", api.TargetSource, source, control)}
				got, _ := judge(targets, nil)
				enforced := own == up && source != up && control == up
				if (got == api.IsolationEnforced) != enforced || (got == api.IsolationNotEnforced) != (source == up) {
					t.Errorf("own %q, source %q, control %q: %s", own, source, control, got)
				}
			}
		}
	}
}

func TestFew(t *testing.T) {
	var many []string
	for i := range 40 {
		many = append(many, fmt.Sprint(i))
	}
	if got := few(many); got != "0; 1; 2; 3; 4; 5; and 34 more" {
		t.Error(got)
	}
}
