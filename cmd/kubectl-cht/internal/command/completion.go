package command

import (
	"strings"

	"github.com/spf13/cobra"

	"github.com/medic/cht-backup/cmd/kubectl-cht/internal/exit"
)

const completionHint = `# kubectl completes "kubectl cht ..." itself, once it finds an executable
# kubectl_complete-cht on the PATH. The release's archive has one; a link to the plugin
# does the same:
ln -s "$(command -v kubectl-cht)" ~/.local/bin/kubectl_complete-cht

# kubectl's own completion must be on, for instance in ~/.bashrc:
source <(kubectl completion bash)          # or zsh, fish, powershell

# Without kubectl, for the command kubectl-cht:
source <(kubectl cht completion bash)      # or zsh, fish, powershell
`

// completionCommand takes the place of cobra's, which knows nothing of kubectl.
func completionCommand(env *Env) *cobra.Command {
	return &cobra.Command{
		Use:   "completion [bash|zsh|fish|powershell]",
		Short: "Say how to have the Tab key complete commands and names",
		Long: `Say how to have the Tab key complete commands, flags, and the names of backups,
restores, schedules, namespaces, databases and classes; or, with the name of a shell,
print its script for the command kubectl-cht. It changes nothing by itself.

A completion asks the cluster with your rights, for 2.5 seconds at most.

` + exit.Help,
		Example: `  kubectl cht completion
  source <(kubectl cht completion bash)`,
		ValidArgs: []string{"bash", "zsh", "fish", "powershell"},
		Args:      cobra.MatchAll(cobra.MaximumNArgs(1), cobra.OnlyValidArgs),
		RunE: func(cmd *cobra.Command, args []string) error {
			root := cmd.Root()
			var err error
			switch append(args, "")[0] {
			case "bash":
				err = root.GenBashCompletionV2(env.Out, true)
			case "zsh":
				err = root.GenZshCompletion(env.Out)
			case "fish":
				err = root.GenFishCompletion(env.Out, true)
			case "powershell":
				err = root.GenPowerShellCompletionWithDesc(env.Out)
			default:
				_, err = env.Out.Write([]byte(completionHint))
			}
			if err != nil {
				return exit.Errorf(exit.Failed, "write the script: %w", err)
			}
			return nil
		},
	}
}

// completer is the name under which kubectl runs a plugin to complete its arguments.
const completer = "kubectl_complete-cht"

// Arguments gives those that the plugin is run with: what stands on the command line,
// or, where it goes by the name that kubectl completes with, a request to complete that.
func Arguments(argv []string) []string {
	if len(argv) == 0 {
		return []string{} // nil would mean the process's own
	}
	name := argv[0][strings.LastIndexAny(argv[0], `/\`)+1:]
	if strings.TrimSuffix(strings.TrimSuffix(name, ".exe"), ".EXE") == completer {
		return append([]string{cobra.ShellCompRequestCmd}, argv[1:]...)
	}
	return argv[1:]
}
