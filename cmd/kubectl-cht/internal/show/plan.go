package show

import (
	"fmt"
	"strings"

	api "github.com/medic/cht-backup/api/v1alpha1"
)

// Plan tells what a planned restore will do: every step with the objects and
// volumes it touches, and last, so that it is read last, what to weigh.
func Plan(r *api.Restore) []string {
	lines := []string{fmt.Sprintf("Plan of restore %s/%s: %s", r.Namespace, r.Name, form(r))}
	facts := [][]string{{"From:", fromText(r)}}
	if r.Status.CutTime != nil {
		facts = append(facts, []string{"Data as of:", at(r.Status.CutTime)})
	}
	lines = append(lines, columns("", facts)...)
	return append(lines, planBody(r.Status.Plan)...)
}

// planBody tells the steps, numbered, and the warnings.
func planBody(p *api.Plan) []string {
	if p == nil {
		return nil
	}
	var lines []string
	for i, step := range p.Steps {
		lines = append(lines, "", fmt.Sprintf("%d. %s", i+1, step.Phase))
		if len(step.Actions) == 0 {
			lines = append(lines, "   - nothing to do")
		}
		for _, action := range step.Actions {
			lines = append(lines, "   - "+oneLine(action))
		}
	}
	if len(p.Warnings) > 0 {
		lines = append(lines, "", "Warnings")
		for _, w := range p.Warnings {
			lines = append(lines, "  ! "+oneLine(w))
		}
	}
	return lines
}

// form says which kind of restore it is.
func form(r *api.Restore) string {
	switch s := r.Spec; {
	case s.InPlace != nil:
		return "in place, the CHT of namespace " + r.Namespace + " goes back"
	case s.Database != nil && s.Database.Replace:
		return fmt.Sprintf("database %s in the place of the live one of namespace %s", s.Database.Name, r.Namespace)
	case s.Database != nil:
		return fmt.Sprintf("database %s into the running CHT of namespace %s", s.Database.Name, r.Namespace)
	case s.Drill != nil:
		return "drill: the databases alone, in a scratch namespace that is removed at the end"
	case s.GoLive:
		return "live, into namespace " + r.Namespace
	case s.Scope == api.ScopeCouchDB:
		return "isolated clone of CouchDB alone, in namespace " + r.Namespace
	default:
		return "isolated clone in namespace " + r.Namespace
	}
}

func fromText(r *api.Restore) string {
	text := r.Spec.Source.Namespace + "/" + r.Spec.Source.Name
	if strings.TrimSpace(string(r.Spec.Source.UID)) != "" {
		text += " (UID " + string(r.Spec.Source.UID) + ")"
	}
	return text
}
