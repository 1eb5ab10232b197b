package command

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/validation"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/cmd/kubectl-cht/internal/exit"
)

type restoreFlags struct {
	from, to, name, uid     string
	goLive, createNamespace bool
	stepTimeout             time.Duration
	waiting
}

func restoreCommand(env *Env) *cobra.Command {
	f := &restoreFlags{}
	cmd := &cobra.Command{
		Use:   "restore --from NAMESPACE/BACKUP --to NAMESPACE",
		Short: "Bring a backed-up CHT back in another namespace",
		Long: `Bring a backed-up CHT back in another namespace, verify it, and show how it goes.

The restored CHT is an isolated clone unless --go-live is given: Sentinel (which
sends SMS) stays at 0, no ingress is made, nothing leaves the namespace.

Whoever may change a Backup decides where it may be restored. This command adds
the target to the Backup's spec.allowedNamespaces with your rights; when the
Backup is gone with its namespace, it does so on the kept record, for which you
need rights on Secrets in --system-namespace.

` + exit.Help,
		Example: `  kubectl cht restore --from medic/nightly --to medic-clone
  kubectl cht restore --from medic/nightly --to medic --go-live   # after a disaster
  kubectl cht restore --from medic/nightly --uid 0f1e… --to medic-old`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if f.name == "" {
				f.name = "restore-" + env.Now().UTC().Format("20060102-150405")
			}
			return env.restore(cmd.Context(), f)
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&f.from, "from", "", "The backup, as NAMESPACE/NAME; the namespace need not exist any more")
	flags.StringVar(&f.to, "to", "", "Namespace to restore into; it must hold no CHT")
	flags.BoolVar(&f.goLive, "go-live", false, "Start Sentinel and the ingress, and lift the isolation")
	flags.StringVar(&f.name, "name", "", "Name of the Restore (default restore-YYYYMMDD-HHMMSS, UTC)")
	flags.StringVar(&f.uid, "uid", "", "UID of the backup, where several had the same name")
	flags.BoolVar(&f.createNamespace, "create-namespace", true, "Create the target namespace when it is missing")
	flags.DurationVar(&f.stepTimeout, "step-timeout", 15*time.Minute, "How long each step of the restore may take, 1s to 24h")
	f.add(flags, 2*time.Hour, "")
	return cmd
}

// source parses --from.
func source(from, uid string) (api.BackupReference, error) {
	namespace, name, found := strings.Cut(from, "/")
	if !found || namespace == "" || name == "" || strings.Contains(name, "/") {
		return api.BackupReference{}, exit.Errorf(exit.Usage, "--from %q does not name a backup; give NAMESPACE/NAME as `kubectl cht list -A` shows them", from)
	}
	if err := checkNamespace("--from", namespace); err != nil {
		return api.BackupReference{}, err
	}
	if err := checkName("backup", name); err != nil {
		return api.BackupReference{}, err
	}
	return api.BackupReference{Namespace: namespace, Name: name, UID: types.UID(uid)}, nil
}

func checkNamespace(flag, namespace string) error {
	if namespace == "" {
		return exit.Errorf(exit.Usage, "%s is missing; give the name of a namespace", flag)
	}
	if problems := validation.IsDNS1123Label(namespace); len(problems) > 0 {
		return exit.Errorf(exit.Usage, "%s: %q cannot be a namespace: %s; choose another", flag, namespace, strings.Join(problems, "; "))
	}
	return nil
}

// reserved are namespaces that the isolation of a restore would break.
var reserved = []string{"kube-system", "kube-public", "kube-node-lease"}

func (f *restoreFlags) checkAll(systemNamespace string) (api.BackupReference, error) {
	from, err := source(f.from, f.uid)
	if err != nil {
		return from, err
	}
	if err := checkNamespace("--to", f.to); err != nil {
		return from, err
	}
	if f.to == systemNamespace || slices.Contains(reserved, f.to) {
		return from, exit.Errorf(exit.Usage, "--to %s is a namespace of the cluster's own; a restore there would cut it off, choose another", f.to)
	}
	if err := checkName("restore", f.name); err != nil {
		return from, err
	}
	if err := between("--step-timeout", f.stepTimeout, time.Second, 24*time.Hour); err != nil {
		return from, err
	}
	return from, f.check()
}

// restore refuses what it can before it changes anything, then allows, makes
// the namespace, and creates the Restore.
func (e *Env) restore(ctx context.Context, f *restoreFlags) error {
	from, err := f.checkAll(e.SystemNamespace)
	if err != nil {
		return err
	}
	c, _, err := e.open()
	if err != nil {
		return err
	}
	grant, err := e.findSource(ctx, c, from, f.to)
	if err != nil {
		return err
	}
	missing, err := e.checkTarget(ctx, c, f)
	if err != nil {
		return err
	}
	// Tried out first: a namespace made for a restore that is not allowed would
	// only be in the way.
	if err := grant(ctx, true); err != nil {
		return err
	}
	if missing {
		if err := createNamespace(ctx, c, f.to); err != nil {
			return err
		}
		e.note("created namespace %s", f.to)
	}
	// The namespace exists by now: a grant to a name that anybody may still take
	// would be a hole.
	if err := grant(ctx, false); err != nil {
		return err
	}
	restore := &api.Restore{
		ObjectMeta: metav1.ObjectMeta{Namespace: f.to, Name: f.name},
		Spec:       api.RestoreSpec{Source: from, GoLive: f.goLive, StepTimeout: metav1.Duration{Duration: f.stepTimeout}},
	}
	if err := c.Create(ctx, restore); err != nil {
		return exit.Explain(fmt.Sprintf("create restore %s/%s", f.to, f.name), err)
	}
	return e.conclude(ctx, c, restore, &api.RestoreList{}, &f.waiting)
}
