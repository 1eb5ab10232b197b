package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/medic/cht-backup/integration/cht"
	"github.com/medic/cht-backup/integration/cht/couch"
	"github.com/medic/cht-backup/integration/cht/load"
)

// judgeParts looks at what could reach people: Sentinel and API, which send
// messages, and the ingress.
func (r *run) judgeParts(ctx context.Context) finding {
	f := finding{what: "Sentinel, API and ingress run: it is live"}
	var deployments appsv1.DeploymentList
	var ingresses networkingv1.IngressList
	var policies networkingv1.NetworkPolicyList
	in := client.InNamespace(r.target.Namespace)
	if err := errors.Join(r.c.Client.List(ctx, &deployments, in), r.c.Client.List(ctx, &ingresses, in), r.c.Client.List(ctx, &policies, in)); err != nil {
		f.problem("%v", err)
		return f
	}
	r.res.sentinel, r.res.api, r.res.ingress = running(deployments.Items, "sentinel"), running(deployments.Items, "api"), "none"
	for _, one := range ingresses.Items {
		for _, rule := range one.Spec.Rules {
			r.res.ingress = "for " + rule.Host
		}
	}
	switch {
	case r.cfg.clone && r.res.api == "stopped":
		f.what = "Sentinel and API, which send messages, do not run, and there is no ingress: it cannot reach patients"
	case r.cfg.clone:
		f.what = "Sentinel does not run, there is no ingress, and the network lets nothing out: it cannot reach patients"
	}
	f.problems = append(f.problems, partProblems(r.cfg.clone, r.res.sentinel, r.res.api, r.res.ingress, "for "+r.source.IngressHost, len(policies.Items))...)
	return f
}

// running says how many pods of a part run, of how many.
func running(all []appsv1.Deployment, service string) string {
	for _, d := range all {
		if d.Spec.Template.Labels[cht.Label] != service {
			continue
		}
		wanted := int32(1)
		if d.Spec.Replicas != nil {
			wanted = *d.Spec.Replicas
		}
		if wanted == 0 && d.Status.Replicas == 0 {
			return "stopped"
		}
		return fmt.Sprintf("%d of %d running", d.Status.ReadyReplicas, wanted)
	}
	return "missing"
}

// partProblems judges them. Whether a clone's API may run depends on the cluster's
// network; that it was not forgotten is all that can be said of it here.
func partProblems(clone bool, sentinel, api, ingress, wantIngress string, policies int) []string {
	const one = "1 of 1 running"
	wantSentinel, wantAPI, isolated := one, []string{one}, false
	if clone {
		wantSentinel, wantAPI, wantIngress, isolated = "stopped", []string{one, "stopped"}, "none", true
	}
	var bad []string
	if sentinel != wantSentinel {
		bad = append(bad, "Sentinel: "+sentinel+", want "+wantSentinel)
	}
	fine := false
	for _, want := range wantAPI {
		fine = fine || api == want
	}
	if !fine {
		bad = append(bad, "API: "+api)
	}
	if ingress != wantIngress {
		bad = append(bad, "ingress: "+ingress+", want "+wantIngress)
	}
	if isolated != (policies > 0) {
		bad = append(bad, fmt.Sprintf("%d network policies", policies))
	}
	return bad
}

// judgeUse saves and reads a document through the restored API, as the app does.
func (r *run) judgeUse(ctx context.Context) finding {
	f := finding{what: "it takes new writes through its API"}
	api := couch.New("http://api."+r.target.Namespace+".svc.cluster.local:5988", r.target.User, r.target.Password, r.c.Transport())
	id := fmt.Sprintf("after-restore-%d", time.Now().UnixNano())
	rev, err := api.Put(ctx, "medic", id, map[string]any{"type": "data_record"})
	if err != nil {
		f.problem("save a document: %v", err)
		return f
	}
	var doc struct {
		Rev string `json:"_rev"`
	}
	if err := api.Get(ctx, "/medic/"+couch.EscapeID(id), &doc); err != nil || doc.Rev != rev {
		f.problem("read it again: revision %q, want %q (%v)", doc.Rev, rev, err)
	}
	return f
}

// judgeSource sees that restoring beside it changed nothing in the source.
func (r *run) judgeSource(ctx context.Context) finding {
	f := finding{what: "the source is unchanged: members, documents, revisions, checkpoints"}
	f.problems = r.members(ctx, r.source)
	now, err := r.dump(ctx, r.source.Namespace)
	if err != nil {
		f.problem("%v", err)
		return f
	}
	f.problems = append(f.problems, load.Diff(r.before, now)...)
	return f
}
