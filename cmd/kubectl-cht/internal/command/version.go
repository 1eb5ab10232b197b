package command

import (
	"fmt"
	"runtime"

	"github.com/spf13/cobra"

	"github.com/medic/cht-backup/cmd/kubectl-cht/internal/exit"
)

func versionCommand(env *Env, version string) *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "Print the version of this plugin", Args: cobra.NoArgs,
		Long: `Print the version of this plugin, of the Go it was built with, and the platform. It asks
no cluster; the controller's version is told by kubectl cht doctor where it differs.

` + exit.Help,
		Example: `  kubectl cht version`,
		RunE: func(*cobra.Command, []string) error {
			return writeLines(env.Out, []string{fmt.Sprintf("kubectl-cht %s (%s, %s/%s)", version, runtime.Version(), runtime.GOOS, runtime.GOARCH)})
		},
	}
}
