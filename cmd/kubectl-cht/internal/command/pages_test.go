package command

import (
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"k8s.io/cli-runtime/pkg/genericiooptions"

	"github.com/medic/cht-backup/integration/chart/markdown"
)

// What the documentation tells people to type is held to the commands that there are:
// in a shell block to the last flag and argument, in a line to the names.

func TestCommandsInTheDocumentation(t *testing.T) {
	pages, err := markdown.Pages("../../../..")
	if err != nil {
		t.Fatal(err)
	}
	checked := 0
	for _, page := range pages {
		for _, block := range page.Blocks {
			if block.Language != "sh" {
				continue
			}
			commands, err := block.Commands()
			if err != nil {
				t.Errorf("%s:%d: %v", page.Path, block.Line, err)
			}
			for _, c := range commands {
				if args, ours := plugin(c.Words); ours {
					checked++
					if err := whole(args); err != nil {
						t.Errorf("%s:%d: %s: %v", page.Path, c.Line, strings.Join(c.Words, " "), err)
					}
				}
			}
		}
		for _, code := range page.Codes {
			if !strings.HasPrefix(code.Text, "kubectl cht ") {
				continue
			}
			checked++
			if err := inLine(code.Text); err != nil {
				t.Errorf("%s:%d: `%s`: %v", page.Path, code.Line, code.Text, err)
			}
		}
	}
	if checked < 70 {
		t.Errorf("%d commands were found in %d pages: they are not read any more", checked, len(pages))
	}
}

func TestCommandsAreCheckedAtAll(t *testing.T) {
	for _, bad := range []string{"backup --no-such", "backup a b c", "no-such", "restore --from", "schedule create", "backup -n", "catalog show a b", "list --all-namespaces=maybe"} {
		if err := whole(strings.Fields(bad)); err == nil {
			t.Errorf("kubectl cht %s was accepted", bad)
		}
	}
	for _, bad := range []string{"kubectl cht no-such", "kubectl cht backup --no-such X", "kubectl cht schedule no-such"} {
		if err := inLine(bad); err == nil {
			t.Errorf("`%s` was accepted", bad)
		}
	}
	for _, good := range []string{"kubectl cht delete", "kubectl cht status [-n NS | -A]", "kubectl cht restore --from A/B --to …"} {
		if err := inLine(good); err != nil {
			t.Errorf("`%s`: %v", good, err)
		}
	}
}

func plugin(words []string) (args []string, ours bool) {
	if len(words) > 0 && words[0] == "sudo" {
		words = words[1:]
	}
	if len(words) < 2 || words[0] != "kubectl" || words[1] != "cht" {
		return nil, false
	}
	return words[2:], true
}

func commands() *cobra.Command {
	root := New(genericiooptions.IOStreams{In: strings.NewReader(""), Out: io.Discard, ErrOut: io.Discard}, "test")
	root.InitDefaultHelpCmd()
	root.InitDefaultCompletionCmd()
	return root
}

// whole holds a command to its flags, their values' forms, and the number of arguments.
func whole(args []string) error {
	command, rest, err := commands().Find(args)
	if err != nil {
		return err
	}
	if err := command.ParseFlags(rest); err != nil {
		return err
	}
	if !command.Runnable() {
		return fmt.Errorf("%s does nothing by itself", command.CommandPath())
	}
	if err := command.ValidateArgs(command.Flags().Args()); err != nil {
		return err
	}
	return command.ValidateRequiredFlags()
}

// inLine holds what a sentence says of a command to names: of the command, and of its
// flags. What stands for something, and what is left out, is passed over.
func inLine(text string) error {
	words, err := markdown.Words(strings.NewReplacer("[", "", "]", "", "|", " ", "…", "").Replace(text))
	if err != nil {
		return err
	}
	args, _ := plugin(words)
	command, rest, err := commands().Find(args)
	if err != nil {
		return err
	}
	if command.HasSubCommands() && len(rest) > 0 && !strings.HasPrefix(rest[0], "-") {
		return fmt.Errorf("%s has no command %s", command.CommandPath(), rest[0])
	}
	for _, word := range rest {
		name, _, _ := strings.Cut(strings.TrimLeft(word, "-"), "=")
		switch {
		case !strings.HasPrefix(word, "-") || word == "-" || name == "":
		case strings.HasPrefix(word, "--") && command.Flag(name) == nil, !strings.HasPrefix(word, "--") && command.Flags().ShorthandLookup(name[:1]) == nil && command.InheritedFlags().ShorthandLookup(name[:1]) == nil:
			return fmt.Errorf("%s has no flag %s", command.CommandPath(), word)
		}
	}
	return nil
}
