package command

import (
	"github.com/spf13/cobra"

	"github.com/medic/cht-backup/cmd/kubectl-cht/internal/exit"
)

// catalogEnv names the environment variable that stands in for --catalog.
const catalogEnv = "CHT_CATALOG"

func catalogCommand(env *Env) *cobra.Command {
	cmd := &cobra.Command{
		Use: "catalog", Short: "Backups kept outside the cluster: keys, list, show, import, restore",
		Long: `Work with the catalog, the bucket in which the records of backups outlive their
cluster. It is read with your own credentials for the bucket (AWS_PROFILE and the
like); no cluster is needed but for import and restore.

` + exit.Help,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(keygenCommand(env))
	return cmd
}
