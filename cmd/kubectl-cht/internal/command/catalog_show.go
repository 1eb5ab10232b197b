package command

import (
	"context"
	"encoding/json"

	"github.com/spf13/cobra"
	"sigs.k8s.io/yaml"

	"github.com/medic/cht-backup/cmd/kubectl-cht/internal/exit"
	"github.com/medic/cht-backup/cmd/kubectl-cht/internal/offsite"
	"github.com/medic/cht-backup/cmd/kubectl-cht/internal/show"
)

func catalogShowCommand(env *Env) *cobra.Command {
	var where elsewhere
	var which choice
	var identity identityFlag
	var uid string
	var output format
	cmd := &cobra.Command{
		Use: "show URL/NAMESPACE[/NAME]", Short: "Tell all that a catalog, or tags, know of one backup",
		Long: `Tell all that is known of one backup outside the cluster: what was cut and when, the
volumes with their snapshots and copies, images, databases, objects, and which Secrets
are sealed to whom, or left out. NAMESPACE alone is its newest good backup.

With --identity the sealed Secrets are opened, to see that the key is the right one.
Their values are never shown.

` + exit.Help,
		Example: `  kubectl cht catalog show s3://my-backups/cht/medic/nightly-20260301 --identity cht-catalog.key
  kubectl cht catalog show --from-tags eu-west-1 medic`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := output.check(); err != nil {
				return err
			}
			if where.region != "" {
				return env.showSet(cmd.Context(), &where, &which, uid, args[0], &output)
			}
			return env.showRecord(cmd.Context(), &where, &which, &identity, uid, args[0], &output)
		},
	}
	where.add(cmd.Flags())
	which.add(cmd.Flags())
	identity.add(cmd.Flags())
	cmd.Flags().StringVar(&uid, "uid", "", "UID of the backup, where several had the same name")
	output.add(cmd.Flags(), "json", "yaml")
	return cmd
}

func (e *Env) showRecord(ctx context.Context, where *elsewhere, which *choice, identity *identityFlag, uid, argument string, output *format) error {
	place, err := e.place(ctx, where.catalog, argument)
	if err != nil {
		return err
	}
	kept, err := e.readKept(ctx, place, which, identity, uid)
	if err != nil {
		return err
	}
	if output.objects() {
		return e.printAny(kept.manifest, output)
	}
	return writeLines(e.Out, show.CatalogRecord(kept.source, kept.manifest, kept.record, kept.copies, kept.opened))
}

func (e *Env) showSet(ctx context.Context, where *elsewhere, which *choice, uid, argument string, output *format) error {
	namespace, name, err := splitName(argument)
	if err != nil {
		return err
	}
	want, err := which.wanted(namespace, name, uid)
	if err != nil {
		return err
	}
	sets, err := e.tagSets(ctx, where.region, want.Namespace)
	if err != nil {
		return err
	}
	// Broken ones are shown too: they are what one wants to know of.
	matching := offsite.Matching(sets, want)
	if len(matching) == 0 {
		return exit.Errorf(exit.Refused, "no snapshot in %s has tags of %s; see what there is with `kubectl cht catalog list --from-tags %s -A`", where.region, want.What(), where.region)
	}
	if output.objects() {
		return e.printAny(matching, output)
	}
	var lines []string
	for i, s := range matching {
		if i > 0 {
			lines = append(lines, "")
		}
		lines = append(lines, show.TagSet(s)...)
	}
	return writeLines(e.Out, lines)
}

// printAny prints what is no object of Kubernetes.
func (e *Env) printAny(v any, output *format) error {
	if output.value == "yaml" {
		raw, err := yaml.Marshal(v)
		return written(e.Out, raw, err)
	}
	raw, err := json.MarshalIndent(v, "", "  ")
	return written(e.Out, append(raw, '\n'), err)
}
