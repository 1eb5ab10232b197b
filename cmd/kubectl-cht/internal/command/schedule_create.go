package command

import (
	"context"
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/cmd/kubectl-cht/internal/exit"
	"github.com/medic/cht-backup/cmd/kubectl-cht/internal/show"
	"github.com/medic/cht-backup/schedule/when"
)

type scheduleFlags struct {
	expression, zone         string
	jitter, deadline         time.Duration
	suspended, dryRun        bool
	keep                     keepFlags
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
	f.keep.add(flags)
	flags.StringVar(&f.drill, "drill", "", "When drills are due, such as '0 5 * * 0', in the same zone; each restores the newest good backup into a scratch namespace and verifies it")
	flags.StringVar(&f.verify, "drill-verify", string(api.VerifySample), "How much a drill compares with the backup: "+strings.Join(verifyLevels, ", "))
	flags.DurationVar(&f.keepFailed, "drill-keep-failed", 0, "Keep the scratch namespace of a drill that failed for so long, 1m to 720h (default: removed at once)")
	flags.StringVar(&f.remapFile, "drill-remap", "", "YAML file of what stands under spec.drill.remap; - is stdin")
	f.template.add(flags)
	flags.BoolVar(&f.dryRun, "dry-run", false, "Print the object and ask no cluster")
	f.output.add(flags, "json", "yaml", "name")
	return cmd
}

// keepFlags are those of the retention.
type keepFlags struct {
	counts map[string]*int32
	within string
	given  func(flag string) bool
}

// keepCounts are the flags of the rules that count, each with what it keeps.
var keepCounts = []struct{ flag, keeps string }{
	{"keep-last", "Keep the newest N backups"},
	{"keep-hourly", "Keep the newest backup of each of N hours that have one"},
	{"keep-daily", "Keep the newest backup of each of N days"},
	{"keep-weekly", "Keep the newest backup of each of N weeks (from Monday)"},
	{"keep-monthly", "Keep the newest backup of each of N months"},
	{"keep-yearly", "Keep the newest backup of each of N years"},
}

func (f *keepFlags) add(flags *pflag.FlagSet) {
	f.given, f.counts = flags.Changed, map[string]*int32{}
	for _, k := range keepCounts {
		f.counts[k.flag] = flags.Int32(k.flag, 0, k.keeps)
	}
	flags.StringVar(&f.within, "keep-within", "", "Keep all that are no older than this when the newest good one was cut, such as 48h, 14d, 3m (months), 1y6m")
}

// span is what the API takes for keepWithin.
var span = regexp.MustCompile(`^([0-9]{1,5}y)?([0-9]{1,5}m)?([0-9]{1,5}d)?([0-9]{1,6}h)?$`)

// retention gives nil when no rule is asked for.
func (f *keepFlags) retention() (*api.Retention, error) {
	r, asked := &api.Retention{}, false
	for flag, field := range map[string]**int32{"keep-last": &r.KeepLast, "keep-hourly": &r.KeepHourly, "keep-daily": &r.KeepDaily,
		"keep-weekly": &r.KeepWeekly, "keep-monthly": &r.KeepMonthly, "keep-yearly": &r.KeepYearly} {
		if !f.given(flag) {
			continue
		}
		n := f.counts[flag]
		if *n < 0 || *n > 100_000 {
			return nil, exit.Errorf(exit.Usage, "--%s %d is out of range; give 0 to 100000", flag, *n)
		}
		*field, asked = n, true
	}
	if f.given("keep-within") {
		if len(f.within) < 2 || len(f.within) > 32 || !span.MatchString(f.within) {
			return nil, exit.Errorf(exit.Usage, "--keep-within %q is no span of time; write years, months, days and hours in this order, such as 48h, 14d, 3m or 1y6m", f.within)
		}
		r.KeepWithin, asked = f.within, true
	}
	if !asked {
		return nil, nil
	}
	return r, nil
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
	if s.Spec.Retention, err = f.keep.retention(); err != nil {
		return nil, err
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
