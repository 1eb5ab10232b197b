package command

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/cmd/kubectl-cht/internal/exit"
	"github.com/medic/cht-backup/cmd/kubectl-cht/internal/show"
	"github.com/medic/cht-backup/schedule/retention"
	"github.com/medic/cht-backup/schedule/when"
	"github.com/medic/cht-backup/snapshot/paged"
)

// simulated bounds a simulation: hourly backups of more than a century.
const simulated = 1_000_000

func retentionCommand(env *Env) *cobra.Command {
	cmd := &cobra.Command{
		Use: "retention", Short: "See which backups a schedule keeps, and why",
		Long: `See which backups a schedule keeps, and why: of those that there are, or of those that
there would be. Nothing is removed.

` + exit.Help,
		Example: `  kubectl cht retention explain nightly -n medic
  kubectl cht retention explain nightly -n medic --simulate 400d`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(explainCommand(env))
	return cmd
}

// explainFlags of `retention explain`.
type explainFlags struct {
	simulate string
	output   format
	policy   policyFlags
}

func explainCommand(env *Env) *cobra.Command {
	var f explainFlags
	cmd := &cobra.Command{
		Use:   "explain [SCHEDULE] [-n NAMESPACE] [--simulate 400d] [--keep-…]",
		Short: "Tell of each backup whether it is kept, and by which rule",
		Long: `Tell of each backup of a namespace whether the retention of a schedule keeps it, and
by which rule. Nothing is removed by this command. The schedule's name may be left
out where there is but one.

With a --keep flag the policy is what the flags say, in the place of the schedule's
own: try it here before it is applied. --simulate also shows what the policy leaves
of the backups that the schedule will take from now on.

` + exit.Help,
		Example: `  kubectl cht retention explain -n medic
  kubectl cht retention explain nightly -n medic --keep-daily 7 --keep-monthly 12 --simulate 400d`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := f.output.check(); err != nil {
				return err
			}
			return env.explain(cmd.Context(), strings.Join(args, ""), &f)
		},
	}
	cmd.Flags().StringVar(&f.simulate, "simulate", "", "Also show what is left of the backups of so long a time from now on, such as 400d or 5y")
	f.policy.add(cmd.Flags())
	f.output.add(cmd.Flags(), "json")
	return cmd
}

// policyFlags are a retention on the command line.
type policyFlags struct {
	counts               map[string]*int32
	within, failedWithin string
	failedLast           int32
	given                func(flag string) bool
}

// keepRules are the flags of the rules that count.
var keepRules = []struct {
	flag, what string
	set        func(*api.Retention, *int32)
}{
	{"keep-last", "Keep so many of the newest", func(r *api.Retention, n *int32) { r.KeepLast = n }},
	{"keep-hourly", "Keep the newest of so many hours", func(r *api.Retention, n *int32) { r.KeepHourly = n }},
	{"keep-daily", "Keep the newest of so many days", func(r *api.Retention, n *int32) { r.KeepDaily = n }},
	{"keep-weekly", "Keep the newest of so many weeks", func(r *api.Retention, n *int32) { r.KeepWeekly = n }},
	{"keep-monthly", "Keep the newest of so many months", func(r *api.Retention, n *int32) { r.KeepMonthly = n }},
	{"keep-yearly", "Keep the newest of so many years", func(r *api.Retention, n *int32) { r.KeepYearly = n }},
}

func (f *policyFlags) add(flags *pflag.FlagSet) {
	f.given, f.counts = flags.Changed, map[string]*int32{}
	for _, rule := range keepRules {
		f.counts[rule.flag] = flags.Int32(rule.flag, 0, rule.what)
	}
	flags.StringVar(&f.within, "keep-within", "", "Keep all that are no older than this beside the newest good one, such as 14d, 3m (months) or 48h")
	flags.Int32Var(&f.failedLast, "failed-keep-last", 0, "Keep at most so many failed ones")
	flags.StringVar(&f.failedWithin, "failed-keep-within", "", "Keep no failed one that is older than this")
}

// over gives the retention that the flags make of a schedule's own, and whether they
// change any of it.
func (f *policyFlags) over(own *api.Retention) (*api.Retention, bool) {
	asked, keeps, fails := &api.Retention{}, false, false
	for _, rule := range keepRules {
		if f.given(rule.flag) {
			rule.set(asked, f.counts[rule.flag])
			keeps = true
		}
	}
	if f.given("keep-within") {
		asked.KeepWithin, keeps = f.within, true
	}
	if own != nil {
		if !keeps {
			asked = own.DeepCopy()
		}
		asked.Failed = *own.Failed.DeepCopy()
	}
	if f.given("failed-keep-last") {
		asked.Failed.KeepLast, fails = &f.failedLast, true
	}
	if f.given("failed-keep-within") {
		asked.Failed.KeepWithin, fails = f.failedWithin, true
	}
	if !keeps && !fails {
		return own, false
	}
	return asked, true
}

func (e *Env) explain(ctx context.Context, name string, f *explainFlags) error {
	var span retention.Span
	if f.simulate != "" {
		var err error
		if span, err = retention.ParseSpan(f.simulate); err != nil || span.IsZero() {
			return exit.Errorf(exit.Usage, "--simulate %q is not a span of time; give years, months, days and hours, such as 400d or 1y6m", f.simulate)
		}
	}
	c, namespace, err := e.open()
	if err != nil {
		return err
	}
	s, err := e.scheduleToExplain(ctx, c, namespace, name)
	if err != nil {
		return err
	}
	asked, changed := f.policy.over(s.Spec.Retention)
	policy, err := retention.PolicyOf(asked)
	if err != nil && changed {
		return exit.Errorf(exit.Usage, "the --keep flags: %w", err)
	} else if err != nil {
		return exit.Errorf(exit.Refused, "schedule %s/%s: %w", namespace, s.Name, err)
	}
	zone, err := when.Zone(s.Spec.TimeZone)
	if err != nil {
		return exit.Errorf(exit.Refused, "schedule %s/%s: %w", namespace, s.Name, err)
	}
	known, err := e.knownBackups(ctx, c, s)
	if err != nil {
		return err
	}
	x := show.Explanation{Namespace: namespace, Schedule: s.Name, Cron: string(s.Spec.Schedule), Zone: zone, Tried: changed, Policy: policy, Now: e.Now(),
		Plan: retention.Plan(policy, zone, e.Now(), known)}
	if f.simulate != "" {
		x.Span = span
		if x.Simulation, err = simulate(s, policy, span, e.Now()); err != nil {
			return err
		}
	}
	if f.output.objects() {
		text, err := x.JSON()
		if err != nil {
			return exit.Errorf(exit.Failed, "encode the explanation: %w", err)
		}
		return writeLines(e.Out, []string{string(text)})
	}
	return writeLines(e.Out, x.Lines())
}

// scheduleToExplain gets a schedule by its name, or the only one there is.
func (e *Env) scheduleToExplain(ctx context.Context, c client.Client, namespace, name string) (*api.BackupSchedule, error) {
	if name != "" {
		var s api.BackupSchedule
		if err := c.Get(ctx, client.ObjectKey{Namespace: namespace, Name: name}, &s); err != nil {
			return nil, exit.Explain(fmt.Sprintf("get schedule %s/%s", namespace, name), err)
		}
		return &s, nil
	}
	var all api.BackupScheduleList
	if err := paged.All(ctx, c, &all, client.InNamespace(namespace)); err != nil {
		return nil, exit.Explain("list schedules in "+namespace, err)
	}
	if len(all.Items) == 1 {
		return &all.Items[0], nil
	}
	if len(all.Items) == 0 {
		return nil, exit.Errorf(exit.Refused, "there is no schedule in namespace %s; a policy is tried against the backups of one, so make it first, or choose another namespace with -n", namespace)
	}
	var names []string
	for i := range all.Items {
		names = append(names, all.Items[i].Name)
	}
	return nil, exit.Errorf(exit.Usage, "namespace %s has %d schedules (%s); say which: `kubectl cht retention explain %s -n %s`", namespace, len(names), strings.Join(names, ", "), names[0], namespace)
}

// knownBackups gathers what the controller decides over.
func (e *Env) knownBackups(ctx context.Context, c client.Client, s *api.BackupSchedule) ([]retention.Backup, error) {
	var backups api.BackupList
	if err := paged.All(ctx, c, &backups, client.InNamespace(s.Namespace)); err != nil {
		return nil, exit.Explain("list backups in "+s.Namespace, err)
	}
	var restores api.RestoreList
	err := paged.All(ctx, c, &restores)
	if apierrors.IsForbidden(err) {
		e.note("restores in other namespaces, which may be using a backup, are not seen: you may not list them in all namespaces")
		err = paged.All(ctx, c, &restores, client.InNamespace(s.Namespace))
	}
	if err != nil {
		return nil, exit.Explain("list restores", err)
	}
	return retention.Known(s.Name, backups.Items, restores.Items), nil
}

func simulate(s *api.BackupSchedule, policy retention.Policy, span retention.Span, now time.Time) (*retention.Simulation, error) {
	clock, err := when.Parse(string(s.Spec.Schedule), s.Spec.TimeZone, s.CreationTimestamp.Time)
	if err != nil {
		return nil, exit.Errorf(exit.Refused, "schedule %s/%s: %w", s.Namespace, s.Name, err)
	}
	delay := time.Duration(0)
	if s.Spec.Jitter != nil {
		delay = when.Delay(s.Spec.Jitter.Duration, s.Namespace, s.Name)
	}
	runs := 0
	next := func(t time.Time) time.Time {
		due := clock.Next(t.Add(-delay))
		if runs++; due.IsZero() || runs > simulated {
			return time.Time{}
		}
		return due.Add(delay)
	}
	simulation := retention.Simulate(policy, clock.Zone(), next, now, span.After(now, clock.Zone()))
	if runs > simulated {
		return nil, exit.Errorf(exit.Usage, "--simulate %s is more than %d backups of this schedule; give a shorter time", span, simulated)
	}
	return &simulation, nil
}
