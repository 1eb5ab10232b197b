package command

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/medic/cht-backup/cmd/kubectl-cht/internal/exit"
)

// reference is one page of what -h says of every command.
func reference(root *cobra.Command) []byte {
	var b strings.Builder
	b.WriteString(`# kubectl cht: commands

Made by ` + "`make generate`" + ` from what ` + "`-h`" + ` says; changes belong there. [kubectl-cht.md](../kubectl-cht.md) explains how they go together.
Besides the flags that are listed, every command takes kubectl's own: ` + "`-n`, `--context`, `--kubeconfig`, `--as`" + ` and the others of ` + "`kubectl options`" + `.

`)
	each(root, func(cmd *cobra.Command) {
		fmt.Fprintf(&b, "- [%s](#%s): %s\n", path(cmd), strings.ReplaceAll(path(cmd), " ", "-"), strings.ToLower(cmd.Short[:1])+cmd.Short[1:])
	})
	fmt.Fprintf(&b, "\n```\n%s\n```\n", exit.Help)
	each(root, func(cmd *cobra.Command) {
		fmt.Fprintf(&b, "\n## %s\n\n%s.\n\n", path(cmd), cmd.Short)
		use := strings.Replace(cmd.UseLine(), "kubectl-cht", "kubectl cht", 1)
		fmt.Fprintf(&b, "```\n%s\n```\n\n", use)
		fmt.Fprintf(&b, "```text\n%s\n```\n\n", strings.TrimSpace(strings.TrimSuffix(cmd.Long, exit.Help)))
		fmt.Fprintf(&b, "```sh\n%s\n```\n", outdented(cmd.Example))
		if flags := strings.TrimRight(cmd.LocalFlags().FlagUsages(), "\n"); flags != "" {
			fmt.Fprintf(&b, "\n```text\n%s\n```\n", flags)
		}
	})
	return []byte(b.String())
}

func path(cmd *cobra.Command) string {
	return strings.Replace(cmd.CommandPath(), "kubectl-cht", "kubectl cht", 1)
}

func outdented(text string) string {
	var lines []string
	for line := range strings.Lines(text) {
		lines = append(lines, strings.TrimPrefix(strings.TrimRight(line, "\n"), "  "))
	}
	return strings.Join(lines, "\n")
}
