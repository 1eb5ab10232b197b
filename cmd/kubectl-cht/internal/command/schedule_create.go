package command

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/cmd/kubectl-cht/internal/exit"
	"github.com/medic/cht-backup/cmd/kubectl-cht/internal/show"
	"github.com/medic/cht-backup/schedule/retention"
	"github.com/medic/cht-backup/schedule/when"
)

type scheduleFlags struct {
	expression, zone         string
	jitter, deadline         time.Duration
	suspended, dryRun        bool
	policy                   policyFlags
	drill, verify, remapFile string
	keepFailed               time.Duration
	template                 specFlags
	output                   format
	// given tells whether a flag stands on the command line.
	given func(flag string) bool
}

const scheduleCreateLong = `Make a schedule of backups of the CHT in a namespace.

--schedule is a cron expression of five fields (minute, hour, day of the month,
month, day of the week), one of @hourly, @daily, @weekly, @monthly, @yearly, or
"@every 6h". A time of day is one of --time-zone; a time that the clock jumps over
runs right after the jump, one that occurs twice runs once.

Without a --keep flag every backup is kept. With them, a backup is kept that any of
them keeps; the newest good one, the newest verified one, and held ones always are.

--dry-run prints the object and asks no cluster: put it under version control, or
give it to ` + "`kubectl apply -f -`" + `.

`

func scheduleCreateCommand(env *Env) *cobra.Command {
	f := &scheduleFlags{}
	cmd := &cobra.Command{
		Use:   "create NAME --schedule CRON [-n NAMESPACE]",
		Short: "Make a schedule",
		Long:  scheduleCreateLong + exit.Help,
		Example: `  kubectl cht schedule create nightly -n medic --schedule '30 2 * * *' --time-zone Africa/Nairobi --jitter 30m \
      --keep-daily 14 --keep-weekly 8 --keep-monthly 12 --drill '0 5 * * 0'
  kubectl cht schedule create nightly -n medic --schedule @daily --keep-within 30d --dry-run > nightly.yaml`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return env.scheduleCreate(cmd.Context(), args[0], f)
		},
	}
	flags := cmd.Flags()
	flags.SortFlags = false
	f.given = flags.Changed
	flags.StringVar(&f.expression, "schedule", "", "When backups are due")
	flags.StringVar(&f.zone, "time-zone", "Etc/UTC", "Zone of the schedule, a name of the IANA database such as Africa/Nairobi")
	flags.DurationVar(&f.jitter, "jitter", 0, "Delay every run by a share of this that is the schedule's own, up to 12h")
	flags.DurationVar(&f.deadline, "starting-deadline", 0, "How late a run may begin that could not begin in time (default: however late)")
	flags.BoolVar(&f.suspended, "suspend", false, "Make it suspended: it runs only once resumed")
	f.policy.add(flags)
	flags.StringVar(&f.drill, "drill", "", "When drills are due, such as '0 5 * * 0', in the same zone; each restores the newest good backup into a scratch namespace and verifies it")
	flags.StringVar(&f.verify, "drill-verify", string(api.VerifySample), "How much a drill compares with the backup: "+strings.Join(verifyLevels, ", "))
	flags.DurationVar(&f.keepFailed, "drill-keep-failed", 0, "Keep the scratch namespace of a drill that failed for so long, 1m to 720h (default: removed at once)")
	flags.StringVar(&f.remapFile, "drill-remap", "", "YAML file of what stands under spec.drill.remap; - is stdin")
	f.template.add(flags)
	flags.BoolVar(&f.dryRun, "dry-run", false, "Print the object and ask no cluster")
	f.output.add(flags, "json", "yaml", "name")
	return cmd
}

// scheduleFor makes the object, or says which input is wrong. It asks no cluster.
func (f *scheduleFlags) scheduleFor(e *Env, name string) (*api.BackupSchedule, error) {
	if err := checkName("schedule", name); err != nil {
		return nil, err
	}
	if len(name) > 63 {
		return nil, exit.Errorf(exit.Usage, "schedule name %q has %d characters, at most 63 are allowed: it becomes a label of every backup; choose another", name, len(name))
	}
	if f.expression == "" {
		return nil, exit.Errorf(exit.Usage, "--schedule is missing; say when backups are due, for example --schedule '30 2 * * *' --time-zone Africa/Nairobi")
	}
	if _, err := when.Parse(f.expression, f.zone, e.Now()); err != nil {
		return nil, exit.Errorf(exit.Usage, "%w; correct --schedule or --time-zone", err)
	}
	s := &api.BackupSchedule{ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: api.BackupScheduleSpec{Schedule: api.CronExpression(f.expression), TimeZone: f.zone, Suspend: f.suspended}}
	if err := f.times(&s.Spec); err != nil {
		return nil, err
	}
	var err error
	if s.Spec.Template.Spec, err = f.template.spec(); err != nil {
		return nil, err
	}
	s.Spec.Retention, _ = f.policy.over(nil)
	if _, err := retention.PolicyOf(s.Spec.Retention); err != nil {
		return nil, exit.Errorf(exit.Usage, "the --keep flags: %w", err)
	}
	if s.Spec.Drill, err = f.drillFor(e); err != nil {
		return nil, err
	}
	return s, f.output.check()
}

// times are the jitter and the deadline.
func (f *scheduleFlags) times(spec *api.BackupScheduleSpec) error {
	if f.given("jitter") {
		if err := between("--jitter", f.jitter, 0, 12*time.Hour); err != nil {
			return err
		}
		spec.Jitter = &metav1.Duration{Duration: f.jitter}
	}
	if f.given("starting-deadline") {
		if err := between("--starting-deadline", f.deadline, time.Second, 8760*time.Hour); err != nil {
			return err
		}
		seconds := int64(f.deadline / time.Second)
		spec.StartingDeadlineSeconds = &seconds
	}
	return nil
}

func (f *scheduleFlags) drillFor(e *Env) (*api.ScheduledDrill, error) {
	if f.drill == "" {
		for _, flag := range []string{"drill-verify", "drill-keep-failed", "drill-remap"} {
			if f.given(flag) {
				return nil, exit.Errorf(exit.Usage, "--%s says how drills are made; say when with --drill too, or leave it out", flag)
			}
		}
		return nil, nil
	}
	if _, err := when.Parse(f.drill, f.zone, e.Now()); err != nil {
		return nil, exit.Errorf(exit.Usage, "%w; correct --drill", err)
	}
	verify, err := oneOf("--drill-verify", f.verify, verifyLevels)
	if err != nil {
		return nil, err
	}
	drill := &api.ScheduledDrill{Schedule: api.CronExpression(f.drill), Verify: api.VerificationLevel(verify)}
	if f.given("drill-keep-failed") {
		if err := between("--drill-keep-failed", f.keepFailed, time.Minute, 720*time.Hour); err != nil {
			return nil, err
		}
		drill.KeepFailed = &metav1.Duration{Duration: f.keepFailed}
	}
	if f.given("drill-remap") {
		if drill.Remap, err = readRemap(f.remapFile, e.In); err != nil {
			return nil, err
		}
		if err := checkRemap(drill.Remap); err != nil {
			return nil, err
		}
	}
	return drill, nil
}

func (e *Env) scheduleCreate(ctx context.Context, name string, f *scheduleFlags) error {
	s, err := f.scheduleFor(e, name)
	if err != nil {
		return err
	}
	if f.dryRun {
		if s.Namespace, err = e.Namespace(); err != nil {
			return kubeconfigError(err)
		}
		return e.printNew(s, &f.output)
	}
	c, namespace, err := e.open()
	if err != nil {
		return err
	}
	s.Namespace = namespace
	if err := c.Create(ctx, s); err != nil {
		doing := fmt.Sprintf("create schedule %s/%s", namespace, name)
		if apierrors.IsNotFound(err) && noNamespace(err) {
			return exit.Errorf(exit.Refused, "%s: namespace %s does not exist; give the CHT's with -n", doing, namespace)
		}
		return exit.Explain(doing, err)
	}
	if f.output.objects() {
		return f.output.print(s, e.Out)
	}
	lines := []string{fmt.Sprintf("schedule %s/%s created", namespace, name)}
	for _, run := range show.NextRuns(s, e.Now(), 3) {
		lines = append(lines, "  due "+run)
	}
	if s.Spec.Retention == nil {
		e.note("every backup is kept until somebody deletes it; see --keep-daily and the like to change that")
	}
	return writeLines(e.Out, lines)
}

// printNew prints an object as one writes it down oneself: without a status, and
// without what the API server fills in.
func (e *Env) printNew(o client.Object, output *format) error {
	if err := typed(o); err != nil {
		return err
	}
	fields, err := runtime.DefaultUnstructuredConverter.ToUnstructured(o)
	if err != nil {
		return exit.Errorf(exit.Failed, "encode %s: %w", o.GetName(), err)
	}
	delete(fields, "status")
	unstructured.RemoveNestedField(fields, "metadata", "creationTimestamp")
	as := format{value: output.value}
	if as.value == "" {
		as.value = "yaml"
	}
	return as.raw(&unstructured.Unstructured{Object: fields}, e.Out)
}
