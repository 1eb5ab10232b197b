package command

import (
	"context"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"sigs.k8s.io/controller-runtime/pkg/client"

	api "github.com/medic/cht-backup/api/v1alpha1"
	"github.com/medic/cht-backup/cmd/kubectl-cht/internal/exit"
)

type restoreFlags struct {
	from, to, name, uid     string
	goLive, createNamespace bool
	inPlace, noSafetyBackup bool
	database, as            string
	replace                 bool
	couchDBOnly, rotate     bool
	verify, dataFrom        string
	ttl, stepTimeout        time.Duration
	yes, dryRun             bool
	remaps                  remapFlags
	offsite                 offsiteFlags
	ebs                     ebsFlags
	// given tells whether a flag stands on the command line.
	given func(flag string) bool
	waiting
}

const restoreLong = `Bring a backed-up CHT back, verify it, and show how it goes. Three ways:

  --to NAMESPACE          another instance in an empty namespace. It is an isolated
                          clone unless --go-live is given: Sentinel (which sends
                          SMS) stays at 0, no ingress, nothing leaves the namespace.
  --in-place              the running instance goes back to one of its own backups,
                          on new volumes; the present ones are set aside.
  --database NAME         one database into a running instance, under a new name,
                          or with --replace in the place of the live one.

In place, and with --replace, the plan is shown first and must be agreed to by
typing a name, or with --yes. --dry-run shows the plan of any restore and leaves
nothing behind.

Whoever may change a Backup decides where it may be restored. This command adds
the target to the Backup's spec.allowedNamespaces with your rights; when the
Backup is gone with its namespace, it does so on the kept record, for which you
need rights on Secrets in --system-namespace.

A backup in a catalog, which has outlived its cluster, is named by its URL. It is read
with your own credentials for the bucket, checked, its Secrets are opened here with
--identity, and it is imported into this cluster, which must lack nothing that it needs.

`

const restoreExample = `  kubectl cht restore --from medic/nightly --to medic-clone --ttl 24h
  kubectl cht restore --from medic/nightly --to medic --go-live   # after a disaster
  kubectl cht restore --from medic/nightly --uid 0f1e… --to medic-old
  kubectl cht restore --from medic/monday --in-place --dry-run
  kubectl cht restore --from medic/monday --in-place              # after a bad upgrade
  kubectl cht restore abort NAME -n medic
  kubectl cht restore --from medic/monday --database medic --database-as medic-monday
  kubectl cht restore --from medic/nightly --to drill --couchdb-only --verify Full --ttl 1h
  kubectl cht restore --from s3://my-backups/cht/medic --as-of 2026-03-01 --identity cht-catalog.key --to medic --go-live
  kubectl cht restore --from eu/nightly --to eu --go-live --storage-class gp3 --zone eu-west-1b --toleration '' --ingress-host cht.example.org`

func restoreCommand(env *Env) *cobra.Command {
	f := &restoreFlags{}
	cmd := &cobra.Command{
		Use:     "restore --from NAMESPACE/BACKUP {--to NAMESPACE | --in-place | --database NAME}",
		Short:   "Bring a backed-up CHT back: elsewhere, in place, or one database",
		Long:    restoreLong + exit.Help,
		Example: restoreExample,
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return env.runRestore(cmd.Context(), f)
		},
	}
	cmd.Flags().SortFlags = false
	cmd.Flags().StringVar(&f.from, "from", "", "The backup, as NAMESPACE/NAME; the namespace need not exist any more. Or one of a catalog, as URL/NAMESPACE[/NAME]")
	f.flags(cmd.Flags())
	cmd.AddCommand(abortCommand(env))
	return cmd
}

// flags are those of every way to restore.
func (f *restoreFlags) flags(flags *pflag.FlagSet) {
	flags.SortFlags = false
	f.given = flags.Changed
	flags.StringVar(&f.uid, "uid", "", "UID of the backup, where several had the same name")
	flags.StringVar(&f.to, "to", "", "Namespace to restore into; it must hold no CHT. With --in-place and --database: the backup's own if left out")
	flags.BoolVar(&f.goLive, "go-live", false, "Start Sentinel and the ingress, and lift the isolation")
	flags.DurationVar(&f.ttl, "ttl", 0, "Remove the clone with its volumes this long after the restore has ended, 1s to 8760h")
	flags.BoolVar(&f.couchDBOnly, "couchdb-only", false, "Restore CouchDB alone: enough to prove a backup, or to read from it")
	flags.BoolVar(&f.createNamespace, "create-namespace", true, "Create the target namespace when it is missing")
	flags.BoolVar(&f.inPlace, "in-place", false, "Put the running instance back to the backup")
	flags.BoolVar(&f.noSafetyBackup, "no-safety-backup", false, "In place: take no backup of the present state, which may be too broken for one")
	flags.StringVar(&f.database, "database", "", "Restore this database alone, into a running instance")
	flags.StringVar(&f.as, "database-as", "", "Name that the database gets (default NAME-restored-YYYYMMDD-HHMMSS, of the backup's cut)")
	flags.BoolVar(&f.replace, "replace", false, "Put the database in the place of the live one, which is kept under another name")
	flags.StringVar(&f.verify, "verify", string(api.VerifySample), "How much is compared with the backup before anything starts: Quick, Sample, Full")
	flags.StringVar(&f.dataFrom, "data-from", string(api.DataAuto), dataFromUsage)
	flags.BoolVar(&f.rotate, "rotate-credentials", false, "Give the restored instance a new admin password and cookie secret")
	f.remaps.add(flags)
	f.offsite.add(flags)
	f.ebs.add(flags)
	flags.StringVar(&f.name, "name", "", "Name of the Restore (default restore-YYYYMMDD-HHMMSS, UTC)")
	flags.DurationVar(&f.stepTimeout, "step-timeout", 15*time.Minute, "How long each step of the restore may take, 1s to 24h")
	flags.BoolVar(&f.dryRun, "dry-run", false, "Show the plan, then take everything back that was made for it")
	flags.BoolVarP(&f.yes, "yes", "y", false, "Agree to the plan without being asked")
	f.add(flags, 2*time.Hour, "")
}

func (e *Env) runRestore(ctx context.Context, f *restoreFlags) error {
	if f.name == "" {
		f.name = "restore-" + e.Now().UTC().Format("20060102-150405")
	}
	return e.restore(ctx, f)
}

// restore refuses what it can before it changes anything, then allows, makes
// the namespace, and creates the Restore.
func (e *Env) restore(ctx context.Context, f *restoreFlags) error {
	if err := f.checkOffsite(); err != nil {
		return err
	}
	var kept *offsiteKept
	if f.isOffsite() {
		var err error
		if kept, err = e.fetch(ctx, f); err != nil {
			return err
		}
	}
	restore, err := f.restoreFor(e.SystemNamespace, e.In)
	if err != nil {
		return err
	}
	if f.asks() && !e.canAsk() {
		return exit.Errorf(exit.Usage, "this restore touches what runs in namespace %s, and nobody can be asked here (stdin is no terminal); look at the plan with --dry-run, then agree to it with --yes", restore.Namespace)
	}
	c, err := e.Connect()
	if err != nil {
		return kubeconfigError(err)
	}
	grant, err := e.sourceOf(ctx, c, f, kept, restore)
	if err != nil {
		return err
	}
	missing, err := e.checkTarget(ctx, c, f)
	if err != nil {
		return err
	}
	made := &traces{grant: grant}
	if err := e.create(ctx, c, restore, missing, made); err != nil {
		return err
	}
	if f.ttl > 0 && made.namespace == nil {
		e.note("namespace %s was there before and stays when the clone's time is over; what the restore makes in it goes", restore.Namespace)
	}
	if restore.Spec.PlanOnly {
		return e.planned(ctx, c, restore, made, f)
	}
	return e.conclude(ctx, c, restore, &api.RestoreList{}, &f.waiting, "created", f.good)
}

// create makes the Restore and what it needs. What it made is taken back when
// the Restore is refused.
func (e *Env) create(ctx context.Context, c client.WithWatch, restore *api.Restore, missing bool, made *traces) error {
	err := e.createAll(ctx, c, restore, missing, made)
	if err == nil {
		made.restore = restore
		return nil
	}
	// Whether a request that got no answer was carried out is not known: then
	// nothing is deleted that a restore may be working in.
	if code := exit.Of(err); made.sent && (code == exit.Unreachable || code == exit.Interrupted) {
		return err
	}
	return withLeft(err, e.takeBack(ctx, c, made))
}

func (e *Env) createAll(ctx context.Context, c client.Client, restore *api.Restore, missing bool, made *traces) error {
	// Tried out first: a namespace made for a restore that is not allowed would
	// only be in the way.
	if err := made.grant.give(ctx, true); err != nil {
		return err
	}
	if missing {
		namespace, err := createNamespace(ctx, c, restore)
		if err != nil {
			return err
		}
		if made.namespace = namespace; namespace != nil {
			e.note("created namespace %s", namespace.Name)
		}
	}
	// The namespace exists by now: a grant to a name that anybody may still take
	// would be a hole.
	if err := made.grant.give(ctx, false); err != nil {
		return err
	}
	made.granted, made.sent = true, true
	return exit.Explain("create restore "+restore.Namespace+"/"+restore.Name, c.Create(ctx, restore))
}
