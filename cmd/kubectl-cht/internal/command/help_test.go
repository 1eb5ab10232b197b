package command

import (
	"os"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"k8s.io/cli-runtime/pkg/genericiooptions"

	"github.com/medic/cht-backup/cmd/kubectl-cht/internal/exit"
)

func tree(t *testing.T) *cobra.Command {
	t.Helper()
	streams, _, _, _ := genericiooptions.NewTestIOStreams()
	return Root(&Env{IOStreams: streams}, "test")
}

// Whoever has no manual at 2 a.m. has -h.
func TestEveryCommandExplainsItself(t *testing.T) {
	each(tree(t), func(cmd *cobra.Command) {
		path := strings.Replace(cmd.CommandPath(), "kubectl-cht", "kubectl cht", 1)
		if cmd.Short == "" || strings.HasSuffix(cmd.Short, ".") {
			t.Errorf("%s: no line that says what it does, or one with a full stop: %q", path, cmd.Short)
		}
		said, codes := strings.CutSuffix(cmd.Long, exit.Help)
		if !codes {
			t.Errorf("%s: its help does not end with the exit codes", path)
		}
		if len(strings.Fields(said)) < 12 {
			t.Errorf("%s: its help says little: %q", path, said)
		}
		for line := range strings.Lines(said) {
			if len(line) > 101 {
				t.Errorf("%s: a line of %d characters: %s", path, len(line), line)
			}
		}
		if cmd.Example == "" {
			t.Errorf("%s: no example", path)
		}
		for line := range strings.Lines(cmd.Example) {
			if !strings.HasPrefix(line, "  ") {
				t.Errorf("%s: an example that is not indented by two: %s", path, line)
			}
		}
	})
}

// Examples are commands that there are, with flags that there are.
func TestEveryExampleIsACommand(t *testing.T) {
	root := tree(t)
	root.PersistentFlags().StringP("namespace", "n", "", "")
	root.PersistentFlags().String("context", "", "")
	each(root, func(cmd *cobra.Command) {
		found := false
		for line := range strings.Lines(strings.ReplaceAll(cmd.Example, "\\\n", " ")) {
			line, _, _ = strings.Cut(line, " #")
			line, _, _ = strings.Cut(line, " | ")
			line, _, _ = strings.Cut(line, " || ")
			line, _, _ = strings.Cut(line, " > ")
			_, line, is := strings.Cut(line, "kubectl cht")
			if !is {
				continue
			}
			args := shellWords(strings.TrimSuffix(strings.TrimSpace(line), ")"))
			meant, rest, err := root.Find(args)
			if err != nil {
				t.Errorf("%s: %v", line, err)
				continue
			}
			found = found || meant == cmd || cmd.HasSubCommands() && strings.HasPrefix(meant.CommandPath(), cmd.CommandPath())
			if err := meant.ParseFlags(rest); err != nil {
				t.Errorf("%s: %v", line, err)
			}
			if err := meant.ValidateArgs(meant.Flags().Args()); err != nil {
				t.Errorf("%s: %v", line, err)
			}
		}
		if !found && cmd.Example != "" {
			t.Errorf("%s: no example is of the command itself:\n%s", cmd.CommandPath(), cmd.Example)
		}
	})
}

// shellWords splits as a shell does, as far as examples go.
func shellWords(line string) (all []string) {
	word, quote, begun := strings.Builder{}, rune(0), false
	for _, c := range line + " " {
		switch {
		case quote != 0 && c == quote:
			quote = 0
		case quote == 0 && (c == '\'' || c == '"'):
			quote, begun = c, true
		case quote == 0 && c == ' ':
			if begun {
				all = append(all, word.String())
			}
			word.Reset()
			begun = false
		default:
			word.WriteRune(c)
			begun = true
		}
	}
	return all
}

// referenceFile is made of what -h says.
const referenceFile = "../../../../docs/reference/kubectl-cht.md"

func TestReferenceIsUpToDate(t *testing.T) {
	want := reference(tree(t))
	if os.Getenv("UPDATE_REFERENCE") != "" {
		if err := os.WriteFile(referenceFile, want, 0o644); err != nil { //nolint:gosec // to be committed
			t.Fatal(err)
		}
	}
	if got, err := os.ReadFile(referenceFile); err != nil || string(got) != string(want) {
		t.Errorf("docs/reference/kubectl-cht.md is not what -h says (%v); make generate", err)
	}
}
