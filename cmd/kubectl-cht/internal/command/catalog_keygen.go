package command

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"filippo.io/age"
	"github.com/spf13/cobra"

	"github.com/medic/cht-backup/cmd/kubectl-cht/internal/exit"
)

func keygenCommand(env *Env) *cobra.Command {
	var file string
	cmd := &cobra.Command{
		Use: "keygen [-o FILE]", Short: "Make the key pair that the Secrets in the catalog are sealed with",
		Long: `Make an age key pair (X25519). The private half, the identity, goes into a new
file that only you can read; the public half, the recipient, is printed for the
controller's settings. The controller can seal with it and never open.

` + exit.Help,
		Example: `  kubectl cht catalog keygen -o cht-catalog.key`,
		Args:    cobra.NoArgs,
		RunE:    func(*cobra.Command, []string) error { return env.keygen(file) },
	}
	cmd.Flags().StringVarP(&file, "output", "o", "cht-catalog.key", "File for the identity; one that is there is never overwritten")
	return cmd
}

func (e *Env) keygen(file string) error {
	if file == "" || file == "-" {
		return exit.Errorf(exit.Usage, "-o %q is no file; the identity is never printed, give the name of a new file", file)
	}
	identity, err := age.GenerateX25519Identity()
	if err != nil {
		return exit.Errorf(exit.Failed, "make a key: %w", err)
	}
	text := fmt.Sprintf("# Opens the Secrets in the catalog of cht-backup, made %s. Keep it off the cluster.\n# public key: %s\n%s\n",
		e.Now().UTC().Format("2006-01-02T15:04:05Z"), identity.Recipient(), identity)
	if err := writeNew(file, []byte(text)); err != nil {
		return err
	}
	return writeLines(e.Out, []string{
		"The identity is in " + file + ". Its recipient, which is no secret, is:", "", "  " + identity.Recipient().String(), "",
		"Next: give the recipient to the controller, in the values of its chart:", "",
		"  config:", "    catalog-recipients: [" + identity.Recipient().String() + "]", "",
		"Keep " + file + " off the cluster and away from the bucket, in two places that do not",
		"burn together (a password manager, a printed sheet in a safe).",
		"Whoever has it can open the Secrets of every record that is sealed to it. If it is",
		"lost, these Secrets are lost, CouchDB's admin password among them: there is no other",
		"way to open them.",
	})
}

// writeNew writes a file that was not there, for its owner alone. What could not be
// written whole is removed: half a key would be taken for one.
func writeNew(file string, text []byte) error {
	f, err := os.OpenFile(filepath.Clean(file), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return exit.Errorf(exit.Refused, "%s exists and is not overwritten: it may be the only key to older records; choose another name with -o", file)
	}
	if err != nil {
		return exit.Errorf(exit.Failed, "write the identity: %w; choose another place with -o", err)
	}
	_, err = f.Write(text)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return exit.Errorf(exit.Failed, "write the identity: %w; nothing is kept of it", errors.Join(err, os.Remove(file)))
	}
	return nil
}
