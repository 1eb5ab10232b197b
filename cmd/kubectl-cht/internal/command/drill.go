package command

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/cmd/kubectl-cht/internal/exit"
	"github.com/medic/cht-backup/snapshot/paged"
)

type drillFlags struct {
	verify, dataFrom        string
	keepFailed, stepTimeout time.Duration
	remaps                  remapFlags
	// given tells whether a flag stands on the command line.
	given func(flag string) bool
	waiting
}

func drillCommand(env *Env) *cobra.Command {
	f := &drillFlags{}
	cmd := &cobra.Command{
		Use:   "drill [BACKUP] [-n NAMESPACE]",
		Short: "Prove a backup by restoring it, and leave nothing behind",
		Long: `Prove a backup: restore its databases into a scratch namespace that nothing gets
out of, compare them with what was recorded, and remove the namespace again,
whatever happens. What came out, and how long the recovery took, is told here and
on the Backup (condition Verified).

BACKUP is the newest good one of the namespace if it is left out. Exit code 0 says
that the backup is proven.

` + exit.Help,
		Example: `  kubectl cht drill -n medic
  kubectl cht drill nightly-20260301t0230 -n medic --verify Full --keep-failed 2h
  kubectl cht drill -n medic --storage-class cheap --toleration ''`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return env.drill(cmd.Context(), append(args, "")[0], f)
		},
	}
	flags := cmd.Flags()
	flags.SortFlags = false
	f.given = flags.Changed
	flags.StringVar(&f.verify, "verify", string(api.VerifySample), "How much is compared with the backup: Quick, Sample, Full")
	flags.DurationVar(&f.keepFailed, "keep-failed", 0, "Keep the scratch namespace for a look, if the drill fails, for so long, 1m to 720h (default: removed at once)")
	flags.StringVar(&f.dataFrom, "data-from", string(api.DataAuto), dataFromUsage)
	f.remaps.add(flags)
	flags.DurationVar(&f.stepTimeout, "step-timeout", 15*time.Minute, "How long each step of the drill may take, 1s to 24h")
	f.add(flags, 2*time.Hour, "")
	return cmd
}

// drillFor makes the object but for its namespace and its backup, or says which
// input is wrong. It asks no cluster.
func (f *drillFlags) drillFor(e *Env) (*api.Restore, error) {
	verify, err := oneOf("--verify", f.verify, verifyLevels)
	if err != nil {
		return nil, err
	}
	data, err := oneOf("--data-from", f.dataFrom, dataSources)
	if err != nil {
		return nil, err
	}
	if err := between("--step-timeout", f.stepTimeout, time.Second, 24*time.Hour); err != nil {
		return nil, err
	}
	drill := &api.Drill{}
	if f.given("keep-failed") {
		if err := between("--keep-failed", f.keepFailed, time.Minute, 720*time.Hour); err != nil {
			return nil, err
		}
		drill.KeepFailed = &metav1.Duration{Duration: f.keepFailed}
	}
	remap, err := f.remaps.remap(e.In)
	if err != nil {
		return nil, err
	}
	if remap != nil && remap.Ingress != nil {
		return nil, exit.Errorf(exit.Usage, "a drill gets no ingress; leave --ingress-host and --ingress-class (spec.remap.ingress) out")
	}
	return &api.Restore{ObjectMeta: metav1.ObjectMeta{Name: "drill-" + e.Now().UTC().Format("20060102-150405")},
		Spec: api.RestoreSpec{Drill: drill, Scope: api.ScopeInstance, Credentials: api.CredentialsKeep, Remap: remap, DataFrom: api.DataFrom(data),
			Verify: api.VerificationLevel(verify), StepTimeout: metav1.Duration{Duration: f.stepTimeout}}}, f.check()
}

func (e *Env) drill(ctx context.Context, backup string, f *drillFlags) error {
	restore, err := f.drillFor(e)
	if err != nil {
		return err
	}
	if backup != "" {
		if err := checkName("backup", backup); err != nil {
			return err
		}
	}
	c, namespace, err := e.open()
	if err != nil {
		return err
	}
	source, err := drilled(ctx, c, namespace, backup)
	if err != nil {
		return err
	}
	if backup == "" {
		e.note("the newest good backup is %s", source.Name)
	}
	restore.Namespace = namespace
	restore.Spec.Source = api.BackupReference{Namespace: namespace, Name: source.Name, UID: source.UID}
	if err := c.Create(ctx, restore); err != nil {
		return exit.Explain("create drill "+namespace+"/"+restore.Name, err)
	}
	return e.conclude(ctx, c, restore, &api.RestoreList{}, &f.waiting, "created", f.good)
}

// drilled gives the backup of that name, or the newest good one.
func drilled(ctx context.Context, c client.Client, namespace, name string) (*api.Backup, error) {
	if name == "" {
		return newestGood(ctx, c, namespace)
	}
	var b api.Backup
	err := c.Get(ctx, client.ObjectKey{Namespace: namespace, Name: name}, &b)
	what := "backup " + namespace + "/" + name
	switch {
	case apierrors.IsNotFound(err):
		return nil, exit.Errorf(exit.Refused, "there is no %s; see what there is with `kubectl cht list -n %s`", what, namespace)
	case err != nil:
		return nil, exit.Explain("get "+what, err)
	case b.DeletionTimestamp != nil:
		return nil, exit.Errorf(exit.Refused, "%s is being deleted with its snapshots; choose another (`kubectl cht list -n %s`)", what, namespace)
	case b.Status.Phase != api.PhaseCompleted:
		return nil, exit.Errorf(exit.Refused, "%s is %s, not Completed; wait for it, or choose another (`kubectl cht list -n %s`)", what, orAccepted(b.Status.Phase), namespace)
	}
	return &b, nil
}

func newestGood(ctx context.Context, c client.Client, namespace string) (*api.Backup, error) {
	var newest *api.Backup
	all := 0
	err := paged.Each(ctx, c, &api.BackupList{}, func(page *api.BackupList) {
		all += len(page.Items)
		for i := range page.Items {
			if b := &page.Items[i]; b.Supersedes(newest) {
				newest = b
			}
		}
	}, client.InNamespace(namespace))
	switch {
	case err != nil:
		return nil, exit.Explain("list backups", err)
	case newest == nil && all == 0:
		return nil, exit.Errorf(exit.Refused, "there is no backup in namespace %s; take one with `kubectl cht backup -n %s`, or give the CHT's namespace with -n", namespace, namespace)
	case newest == nil:
		return nil, exit.Errorf(exit.Refused, "none of the %d backups in namespace %s is good; see why with %s", all, namespace, fmt.Sprintf("`kubectl cht status -n %s -o wide`", namespace))
	}
	return newest, nil
}
