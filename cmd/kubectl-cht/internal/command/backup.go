package command

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/cmd/kubectl-cht/internal/exit"
)

// maxName is the API's bound on the names of Backups and Restores.
const maxName = 200

// spare is the time a backup needs besides the storage's, for the default --timeout.
const spare = 15 * time.Minute

type backupFlags struct {
	specFlags
	waiting
}

// specFlags say how backups are taken: one, or those of a schedule.
type specFlags struct {
	quiesce, onUnavailable, class string
	maxStall, readyTimeout        time.Duration
	attempts                      int32
	allowed                       []string
}

func backupCommand(env *Env) *cobra.Command {
	f := &backupFlags{}
	cmd := &cobra.Command{
		Use:   "backup [NAME] [-n NAMESPACE]",
		Short: "Back up the CHT of a namespace",
		Long: `Back up the CHT instance of a namespace and show how it goes.

NAME defaults to manual-YYYYMMDD-HHMMSS (UTC). Writes to the CHT are held back
for at most --max-stall while the volumes of all CouchDB nodes are cut as one
point in time; reads and clients wait, and nothing fails.

` + exit.Help,
		Example: `  kubectl cht backup -n medic
  kubectl cht backup before-upgrade -n medic --max-stall 5s
  kubectl cht backup -n medic --no-wait -o name`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if !cmd.Flags().Changed("timeout") {
				f.timeout = f.readyTimeout + spare
			}
			name := "manual-" + env.Now().UTC().Format("20060102-150405")
			if len(args) == 1 {
				name = args[0]
			}
			return env.backup(cmd.Context(), name, f)
		},
	}
	f.specFlags.add(cmd.Flags())
	f.waiting.add(cmd.Flags(), 0, fmt.Sprintf(" (default --ready-timeout and %s more)", spare))
	return cmd
}

func (f *specFlags) add(flags *pflag.FlagSet) {
	flags.StringVar(&f.quiesce, "quiesce", "Auto", "How writes are held back: "+strings.Join(quiesceModes, ", "))
	flags.DurationVar(&f.maxStall, "max-stall", 10*time.Second, "How long writes may be held back, 500ms to 60s")
	flags.StringVar(&f.class, "snapshot-class", "", "VolumeSnapshotClass to cut with (default: the default class of the volumes' driver)")
	flags.Int32Var(&f.attempts, "attempts", 3, "How many times a cut is tried, 1 to 10")
	flags.StringVar(&f.onUnavailable, "on-unavailable", "Fail", "What to do when writes cannot be held back: "+strings.Join(onUnavailable, ", ")+" (to a CrashConsistent backup)")
	flags.DurationVar(&f.readyTimeout, "ready-timeout", 2*time.Hour, "How long the storage may take to make the snapshots ready, 1s to 72h")
	flags.StringSliceVar(&f.allowed, "allow-namespace", nil, "Namespaces the backup may be restored into besides its own")
}

var (
	quiesceModes  = []string{string(api.QuiesceAuto), string(api.QuiesceFreeze), string(api.QuiescePause), string(api.QuiesceNone)}
	onUnavailable = []string{"Fail", "Degrade"}
)

// backupFor makes the object, or says which input is wrong.
func backupFor(namespace, name string, f *specFlags) (*api.Backup, error) {
	if err := checkName("backup", name); err != nil {
		return nil, err
	}
	spec, err := f.spec()
	if err != nil {
		return nil, err
	}
	return &api.Backup{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}, Spec: spec}, nil
}

func (f *specFlags) spec() (spec api.BackupSpec, err error) {
	quiesce, err := oneOf("--quiesce", f.quiesce, quiesceModes)
	if err != nil {
		return spec, err
	}
	unavailable, err := oneOf("--on-unavailable", f.onUnavailable, onUnavailable)
	if err != nil {
		return spec, err
	}
	if err := between("--max-stall", f.maxStall, 500*time.Millisecond, time.Minute); err != nil {
		return spec, err
	}
	if err := between("--ready-timeout", f.readyTimeout, time.Second, 72*time.Hour); err != nil {
		return spec, err
	}
	if f.attempts < 1 || f.attempts > 10 {
		return spec, exit.Errorf(exit.Usage, "--attempts %d is out of range; give 1 to 10", f.attempts)
	}
	for _, n := range f.allowed {
		if n == "*" {
			continue
		}
		if err := checkNamespace("--allow-namespace", n); err != nil {
			return spec, err
		}
	}
	spec = api.BackupSpec{Quiesce: api.Quiesce(quiesce), MaxStall: metav1.Duration{Duration: f.maxStall}, OnUnavailable: unavailable,
		Attempts: f.attempts, ReadyTimeout: metav1.Duration{Duration: f.readyTimeout}, AllowedNamespaces: f.allowed}
	if f.class != "" {
		spec.VolumeSnapshotClassName = &f.class
	}
	return spec, nil
}

func (e *Env) backup(ctx context.Context, name string, f *backupFlags) error {
	if err := f.check(); err != nil {
		return err
	}
	if _, err := backupFor("", name, &f.specFlags); err != nil {
		return err // bad input is told without a cluster
	}
	c, namespace, err := e.open()
	if err != nil {
		return err
	}
	b, err := backupFor(namespace, name, &f.specFlags)
	if err != nil {
		return err
	}
	if err := c.Create(ctx, b); err != nil {
		doing := fmt.Sprintf("create backup %s/%s", namespace, name)
		if apierrors.IsNotFound(err) && noNamespace(err) {
			return exit.Errorf(exit.Refused, "%s: namespace %s does not exist; give the CHT's with -n", doing, namespace)
		}
		return exit.Explain(doing, err)
	}
	return e.conclude(ctx, c, b, &api.BackupList{}, &f.waiting, "created", f.good)
}

// noNamespace tells a missing namespace from a missing kind: both are 404.
func noNamespace(err error) bool {
	var status apierrors.APIStatus
	return errors.As(err, &status) && status.Status().Details != nil && status.Status().Details.Kind == "namespaces"
}

func checkName(kind, name string) error {
	problems := validation.IsDNS1123Subdomain(name)
	if len(name) > maxName {
		problems = append(problems, fmt.Sprintf("it has %d characters, at most %d are allowed", len(name), maxName))
	}
	if len(problems) > 0 {
		return exit.Errorf(exit.Usage, "%s name %q cannot be used: %s; choose another", kind, name, strings.Join(problems, "; "))
	}
	return nil
}

// oneOf takes a value as the API spells it, whatever its case.
func oneOf(flag, value string, known []string) (string, error) {
	i := slices.IndexFunc(known, func(k string) bool { return strings.EqualFold(k, value) })
	if i < 0 {
		return "", exit.Errorf(exit.Usage, "%s %q is not known; use one of: %s", flag, value, strings.Join(known, ", "))
	}
	return known[i], nil
}

func between(flag string, d, least, most time.Duration) error {
	if d < least || d > most {
		return exit.Errorf(exit.Usage, "%s %s is out of range; give %s to %s", flag, d, least, most)
	}
	return nil
}
