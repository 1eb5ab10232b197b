package command

import (
	"fmt"
	"runtime"

	"github.com/spf13/cobra"
)

func versionCommand(env *Env, version string) *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "Print the version of this plugin", Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			return writeLines(env.Out, []string{fmt.Sprintf("kubectl-cht %s (%s, %s/%s)", version, runtime.Version(), runtime.GOOS, runtime.GOARCH)})
		},
	}
}
