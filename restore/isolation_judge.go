package restore

import (
	"fmt"
	"slices"
	"strings"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/restore/probe"
)

// silence is a probe that gave no report.
type silence struct{ from, why string }

// judge tells what the probes of a clone came to. One connection that the policy
// denies is enough for NotEnforced. Enforced needs evidence for each workload: its
// probe reached the clone's CouchDB, so that it had a network, and failed where the
// controller connected, so that somebody was there.
func judge(targets []api.IsolationTarget, silent []silence) (api.IsolationResult, string) {
	var froms, reached []string
	for _, t := range targets {
		if !slices.Contains(froms, t.From) {
			froms = append(froms, t.From)
		}
		if t.Kind != api.TargetOwn && t.Outcome == api.OutcomeConnected && !t.OwnNode {
			reached = append(reached, fmt.Sprintf("%s reached %s (%s)", t.From, t.Address, t.Kind))
		}
	}
	if len(reached) > 0 {
		return api.IsolationNotEnforced, fmt.Sprintf("probes with the labels of the clone's pods got out: %s. Either this cluster's network plugin does not enforce NetworkPolicies, or another policy in the namespace allows it, or %s is gone",
			few(reached), isolationName)
	}
	if len(silent) > 0 {
		var texts []string
		for _, s := range silent {
			texts = append(texts, fmt.Sprintf("%s (%s)", s.from, s.why))
		}
		return api.IsolationNotProved, "there is no report of the probe of " + few(texts)
	}
	if len(froms) == 0 {
		return api.IsolationNotProved, "there was nothing to prove it with: no workload that could be probed is to be started"
	}
	denied := 0
	for _, from := range froms {
		n, why := convincing(of(targets, from))
		if why != "" {
			return api.IsolationNotProved, fmt.Sprintf("the probe of %s reached nothing that is denied, but %s", from, why)
		}
		denied = max(denied, n)
	}
	text := fmt.Sprintf("%d probes (%s) reached the clone's CouchDB and none of what is denied; up to %d of those addresses answered the controller meanwhile", len(froms), strings.Join(froms, ", "), denied)
	if slices.ContainsFunc(targets, func(t api.IsolationTarget) bool { return t.OwnNode && t.Outcome == api.OutcomeConnected }) {
		text += ". They did reach their own node, which Kubernetes lets a pod reach whatever the policies say"
	}
	if late := slowest(targets) - probe.InARow; late > 0 {
		text += fmt.Sprintf(". That was so only %d s after the slowest had started: a pod of the clone is open for as long", late)
	}
	return api.IsolationEnforced, text
}

// slowest is the number of rounds, of a second each, of the probe that took most.
func slowest(targets []api.IsolationTarget) (rounds int) {
	for _, t := range targets {
		rounds = max(rounds, int(t.Rounds))
	}
	return rounds
}

// convincing counts the failures of one probe that are evidence; why says what
// lacks.
func convincing(targets []api.IsolationTarget) (denied int, why string) {
	own := false
	for _, t := range targets {
		switch {
		case t.Kind == api.TargetOwn:
			if t.Outcome != api.OutcomeConnected {
				return 0, fmt.Sprintf("it did not reach its own CouchDB either (%s: %s): a pod without a network proves nothing", t.Address, t.Outcome)
			}
			own = true
		case t.Control == api.OutcomeConnected && t.Outcome != api.OutcomeConnected:
			denied++
		}
	}
	switch {
	case !own:
		return 0, "it was not sent to its own CouchDB"
	case denied == 0:
		return 0, "none of those addresses answered the controller either, or they are of the probe's own node. Name an address that this cluster can reach in the controller's setting isolation-outside"
	}
	return denied, ""
}

func of(targets []api.IsolationTarget, from string) []api.IsolationTarget {
	return slices.DeleteFunc(slices.Clone(targets), func(t api.IsolationTarget) bool { return t.From != from })
}

// few joins the first of many texts.
func few(texts []string) string {
	const most = 6
	if len(texts) <= most {
		return strings.Join(texts, "; ")
	}
	return fmt.Sprintf("%s; and %d more", strings.Join(texts[:most], "; "), len(texts)-most)
}
