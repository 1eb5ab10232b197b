package checkup

import (
	"context"
	"fmt"
	"slices"
	"strings"

	authorizationv1 "k8s.io/api/authorization/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// mostQuestions bounds how many single rights are asked for in one look, over all
// namespaces: an authorizer that cannot list what it grants answers each by itself.
const mostQuestions = 3000

// access asks what the controller may do.
type access struct {
	client    client.Client
	questions int
	// narrow: it makes and deletes no namespaces, and does without the right.
	narrow bool
}

// may asks for one right; namespace "" is all of them, or a kind without.
func (a *access) may(ctx context.Context, namespace string, r right) (bool, error) {
	resource, sub, _ := strings.Cut(r.resource, "/")
	review := &authorizationv1.SelfSubjectAccessReview{Spec: authorizationv1.SelfSubjectAccessReviewSpec{
		ResourceAttributes: &authorizationv1.ResourceAttributes{Namespace: namespace, Verb: r.verb, Group: r.group, Resource: resource, Subresource: sub}}}
	a.questions++
	if err := a.client.Create(ctx, review); err != nil {
		return false, fmt.Errorf("ask whether %s %s is allowed: %w", r.verb, r.resource, err)
	}
	return review.Status.Allowed, nil
}

// listed gives the rules of a namespace as the API server lists them, in one request.
// They may be less than what is granted.
func (a *access) listed(ctx context.Context, namespace string) ([]authorizationv1.ResourceRule, error) {
	review := &authorizationv1.SelfSubjectRulesReview{Spec: authorizationv1.SelfSubjectRulesReviewSpec{Namespace: namespace}}
	if err := a.client.Create(ctx, review); err != nil {
		return nil, fmt.Errorf("ask what is allowed in namespace %s: %w", namespace, err)
	}
	return review.Status.ResourceRules, nil
}

// check tells of the rights in a namespace, of those in all with "", or of those of
// kinds without a namespace.
func (a *access) check(ctx context.Context, namespace string, all []need) Check {
	var rules []authorizationv1.ResourceRule
	if namespace != "" {
		var err error
		if rules, err = a.listed(ctx, namespace); err != nil {
			return unknown(Permissions, namespace, askNext, err)
		}
	}
	var lacks []string
	without := ""
	for _, n := range all {
		var verbs []string // verb resource
		for _, r := range n.rights() {
			if slices.ContainsFunc(rules, r.grantedBy) {
				continue
			}
			if a.questions >= mostQuestions {
				return unknown(Permissions, namespace, "give the controller fewer namespaces, or ask kubectl auth can-i --list", fmt.Errorf("its rights were not all asked for: that would be more than %d questions", mostQuestions))
			}
			allowed, err := a.may(ctx, namespace, r)
			if err != nil {
				return unknown(Permissions, namespace, askNext, err)
			}
			if !allowed {
				verbs = append(verbs, r.verb+" "+r.name())
			}
		}
		if len(verbs) > 0 && n.optional && a.narrow {
			without = "; it does without " + n.what
		} else if len(verbs) > 0 {
			lacks = append(lacks, fmt.Sprintf("%s (needed for %s)", strings.Join(verbs, ", "), n.what))
		}
	}
	where := "in the cluster"
	if namespace != "" {
		where = "in namespace " + namespace
	}
	if len(lacks) == 0 {
		return pass(Permissions, namespace, "the controller may do all it needs to %s%s", where, without)
	}
	return fail(Permissions, namespace, "upgrade the chart cht-backup, whose roles grant it; where they are made by hand (rbac.create: false), grant what charts/cht-backup/files/role.yaml has",
		"the controller may not, %s: %s", where, strings.Join(lacks, "; "))
}

const askNext = "see the log of the controller; the API server answers no questions about rights"

// grantedBy tells whether a rule, of any object, grants a right.
func (r right) grantedBy(rule authorizationv1.ResourceRule) bool {
	has := func(all []string, one string) bool { return slices.Contains(all, one) || slices.Contains(all, "*") }
	if len(rule.ResourceNames) > 0 || !has(rule.Verbs, r.verb) || !has(rule.APIGroups, r.group) {
		return false
	}
	if has(rule.Resources, r.resource) {
		return true
	}
	_, sub, is := strings.Cut(r.resource, "/")
	return is && slices.Contains(rule.Resources, "*/"+sub)
}

func (r right) name() string {
	if r.group == "" {
		return r.resource
	}
	return r.resource + "." + r.group
}
