package command

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/medic/cht-backup/cmd/kubectl-cht/internal/doctor"
	"github.com/medic/cht-backup/cmd/kubectl-cht/internal/exit"
	"github.com/medic/cht-backup/cmd/kubectl-cht/internal/readiness"
	"github.com/medic/cht-backup/cmd/kubectl-cht/internal/show"
	"github.com/medic/cht-backup/cmd/kubectl-cht/internal/status"
)

// examination is what the flags of doctor say.
type examination struct {
	all, fix, yes bool
	olderThan     time.Duration
	checks        []string
	output        format
}

// only tells whether nothing but what package doctor finds is asked for.
func (d *examination) only(names ...string) bool {
	return len(d.checks) > 0 && !slices.ContainsFunc(d.checks, func(c string) bool { return !slices.Contains(names, c) })
}

// leastAge keeps a fix away from what is being made this moment.
const leastAge = time.Second

func doctorCommand(env *Env) *cobra.Command {
	var d examination
	cmd := &cobra.Command{
		Use:   "doctor [-n NAMESPACE | -A] [--check NAME,…] [--fix]",
		Short: "Find what would fail at night, what is wrong, and what was left behind",
		Long: `Find, for the CHT of a namespace or for all with -A, whatever would make the next
backup or restore fail, what is wrong already, and what was left behind:

  controller  is one there that serves the namespace, up, of this version, with the
              rights it needs, a catalog that it reaches and writes to, the right time
  storage     a VolumeSnapshotClass for each volume's driver, the driver on the node, a
              snapshot-controller, a freezer pod that is admitted, isolation proven
  schedules   one that runs, no run missed, the newest good backup and its proof
  leftovers   snapshots, records, pods, volumes and namespaces whose Backup or Restore
              is gone; and what is kept on purpose

Each finding says what, why, and what to do next; docs/doctor.md tells more of each.
It looks with your rights. What you may not see is told, and stops nothing. Nothing is
changed: a freezer pod is tried in a dry run.

A problem fails, or will tonight; a warning should not stay so; both, and what was left
behind, make the command say so, but warnings alone end with exit code 0.

--fix removes what was left behind, once you have seen the list and agreed to it, and
nothing else. What has a living owner, is in use, or is younger than --older-than is
never touched; neither are backups of which the record is kept, nor volumes that a
restore in place set aside. Run it with -A by somebody who may see all namespaces.

` + exit.Help,
		Example: `  kubectl cht doctor -n medic
  kubectl cht doctor -A -o json | jq '.findings[] | select(.severity == "problem")'
  kubectl cht doctor -n medic --check Storage,Freezer
  kubectl cht doctor -A --check Leftovers --fix`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := d.output.check(); err != nil {
				return err
			}
			if d.olderThan < leastAge {
				return exit.Errorf(exit.Usage, "--older-than %s is too short; give at least %s, and some minutes with --fix", d.olderThan, leastAge)
			}
			if d.yes && !d.fix {
				return exit.Errorf(exit.Usage, "--yes has no meaning without --fix")
			}
			if d.fix && !d.yes && !env.canAsk() {
				return exit.Errorf(exit.Usage, "nothing is removed: nobody can be asked here; give --yes")
			}
			for _, name := range d.checks {
				if !slices.Contains(readiness.Checks, name) {
					return exit.Errorf(exit.Usage, "--check %q is none; there are: %s", name, strings.Join(readiness.Checks, ", "))
				}
			}
			return env.doctor(cmd.Context(), &d)
		},
	}
	flags := cmd.Flags()
	flags.BoolVarP(&d.all, "all-namespaces", "A", false, "Look at all namespaces")
	flags.BoolVar(&d.fix, "fix", false, "Remove what was left behind")
	flags.BoolVarP(&d.yes, "yes", "y", false, "With --fix: do not ask")
	flags.DurationVar(&d.olderThan, "older-than", 10*time.Minute, "Leave what is younger alone: its owner may be at work on it")
	flags.StringSliceVar(&d.checks, "check", nil, "Only these `checks`, by their names in docs/doctor.md")
	d.output.add(flags, "json")
	return cmd
}

func (e *Env) doctor(ctx context.Context, d *examination) error {
	c, namespace, err := e.open()
	if err != nil {
		return err
	}
	if d.all {
		namespace = ""
	}
	seen, findings, err := e.examine(ctx, c, namespace, d.olderThan)
	if err != nil {
		return err
	}
	if !d.only(doctor.CheckController, doctor.CheckProgress, doctor.CheckLeftovers) {
		ready := e.readiness(ctx, c, seen)
		seen = ready.Cluster // with what could not be seen of it
		findings = doctor.Sort(append(findings, readiness.Judge(ready, e.Now())...))
	}
	if len(d.checks) > 0 {
		findings = slices.DeleteFunc(findings, func(f doctor.Finding) bool { return !slices.Contains(d.checks, f.Check) })
	}
	if d.fix && slices.ContainsFunc(findings, doctor.Finding.Fixable) {
		if findings, err = e.fix(ctx, c, namespace, d, findings); err != nil {
			return err
		}
	}
	if d.output.objects() {
		err = writeFindings(e, seen, findings)
	} else {
		err = e.tell(seen, findings)
	}
	if err != nil {
		return err
	}
	if verdict := doctor.Verdict(findings); verdict != "" {
		hint := ""
		if _, orphans := doctor.Wrong(findings); orphans > 0 && !d.fix {
			hint = "; kubectl cht doctor --fix removes what was left behind"
		}
		return exit.Errorf(exit.Trouble, "%s%s", verdict, hint)
	}
	return nil
}

func (e *Env) examine(ctx context.Context, c client.Client, namespace string, olderThan time.Duration) (doctor.Cluster, []doctor.Finding, error) {
	e.locate(ctx, c, namespace)
	systems := e.systems(ctx, c, namespace, true)
	seen, err := doctor.Look(ctx, c, namespace, e.SystemNamespace, systems...)
	if err != nil {
		return seen, nil, exit.Explain("look at the cluster", err)
	}
	return seen, doctor.Judge(seen, e.Now(), olderThan), nil
}

// readiness looks at what would fail.
func (e *Env) readiness(ctx context.Context, c client.Client, seen doctor.Cluster) readiness.Seen {
	had := readiness.Looked{Cluster: seen, Version: e.Version, Clock: e.Clock}
	fleet := &status.Fleet{}
	if _, had.StatusErr = gather(ctx, c, seen.Namespace, fleet); had.StatusErr == nil {
		if seen.Namespace != "" && !fleet.Empty() {
			fleet.AddNamespace(seen.Namespace)
		}
		report := fleet.Report(e.Now())
		had.Status = &report
	}
	return readiness.Look(ctx, c, had)
}

// fix removes, of what was found and agreed to, what a second look finds as well:
// an owner may have come back while somebody read the list.
func (e *Env) fix(ctx context.Context, c client.Client, namespace string, d *examination, findings []doctor.Finding) ([]doctor.Finding, error) {
	if !d.yes {
		var removed []doctor.Finding
		for _, f := range findings {
			if f.Fixable() {
				f.Result = "is removed"
				removed = append(removed, f)
			}
		}
		for _, line := range doctor.Lines(removed, show.OneLine) {
			_, _ = fmt.Fprintln(e.ErrOut, line) // the question follows there
		}
		switch got, err := e.ask(ctx, fmt.Sprintf("This removes them for good (%d), with what they hold in the storage.\nType remove to go on: ", len(removed))); {
		case err != nil:
			return nil, exit.Errorf(exit.Interrupted, "interrupted; nothing is removed")
		case got != "remove":
			return nil, exit.Errorf(exit.Usage, "%q is not the word; nothing is removed", got)
		}
	}
	_, again, err := e.examine(ctx, c, namespace, d.olderThan)
	if err != nil {
		return nil, err
	}
	for i := range findings {
		f := &findings[i]
		if !f.Fixable() {
			continue
		}
		at := slices.IndexFunc(again, f.Same)
		if at < 0 {
			f.Result = doctor.Over
			continue
		}
		if err := doctor.Remove(ctx, c, again[at]); err != nil {
			if ctx.Err() != nil {
				return nil, exit.Errorf(exit.Interrupted, "interrupted; what was removed until then is gone")
			}
			f.Result = "left alone: " + oneLine(err)
			continue
		}
		f.Result = doctor.Removed
	}
	return findings, nil
}

func (e *Env) tell(seen doctor.Cluster, findings []doctor.Finding) error {
	for _, note := range doctor.Notes(seen) {
		e.note("%s", note)
	}
	lines := doctor.Lines(findings, show.OneLine)
	if doctor.Verdict(findings) == "" {
		if len(lines) > 0 {
			lines = append(lines, "")
		}
		verdict := "nothing is wrong"
		if len(seen.Unseen) > 0 {
			verdict = "nothing is wrong with what could be looked at"
		}
		lines = append(lines, verdict)
	}
	return writeLines(e.Out, lines)
}

// writeFindings prints one JSON object.
func writeFindings(e *Env, seen doctor.Cluster, findings []doctor.Finding) error {
	type finding struct {
		doctor.Finding
		Fixable bool `json:"fixable"`
	}
	problems, orphans := doctor.Wrong(findings)
	warnings := 0
	for _, f := range findings {
		if f.Severity == doctor.Warning {
			warnings++
		}
	}
	out := struct {
		Healthy     bool      `json:"healthy"`
		Problems    int       `json:"problems"`
		Warnings    int       `json:"warnings"`
		Orphans     int       `json:"orphans"`
		NotLookedAt []string  `json:"notLookedAt"`
		Findings    []finding `json:"findings"`
	}{problems+orphans == 0, problems, warnings, orphans, append([]string{}, doctor.Notes(seen)...), []finding{}}
	for _, f := range findings {
		out.Findings = append(out.Findings, finding{f, f.Fixable()})
	}
	text, err := json.MarshalIndent(out, "", "    ")
	if err != nil {
		return exit.Errorf(exit.Failed, "encode the findings: %w", err)
	}
	return writeLines(e.Out, []string{string(text)})
}
