package command

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"

	"filippo.io/age"
	"github.com/spf13/pflag"

	"github.com/medic/cht-backup/cmd/kubectl-cht/internal/exit"
)

// maxIdentity bounds a file of identities, in bytes.
const maxIdentity = 1 << 20

// identityFlag is --identity.
type identityFlag struct {
	file string
}

func (f *identityFlag) add(flags *pflag.FlagSet) {
	flags.StringVarP(&f.file, "identity", "i", "", "File with the age identity that opens the sealed Secrets, as `FILE` of `kubectl cht catalog keygen`; - is stdin. It is used here and never sent anywhere")
}

// identities reads them; none without the flag. What the file holds is in no error.
func (f *identityFlag) identities(in io.Reader) ([]age.Identity, error) {
	if f.file == "" {
		return nil, nil
	}
	from := in
	if f.file != "-" {
		file, err := os.Open(filepath.Clean(f.file))
		if err != nil {
			return nil, exit.Errorf(exit.Usage, "--identity: %w; give the file that `kubectl cht catalog keygen` wrote", err)
		}
		defer file.Close() //nolint:errcheck // only read
		from = file
	}
	text, err := io.ReadAll(io.LimitReader(from, maxIdentity+1))
	if err != nil {
		return nil, exit.Errorf(exit.Usage, "--identity %s: read it: %w", f.file, err)
	}
	defer clear(text)
	switch {
	case len(text) > maxIdentity:
		return nil, exit.Errorf(exit.Usage, "--identity %s is larger than 1 MiB and no file of keys; give the file that `kubectl cht catalog keygen` wrote", f.file)
	case bytes.HasPrefix(text, []byte("age-encryption.org/")) || bytes.HasPrefix(text, []byte("-----BEGIN AGE")):
		return nil, exit.Errorf(exit.Usage, "--identity %s is itself encrypted; pass it decrypted on stdin: `age -d FILE | kubectl cht … --identity -`", f.file)
	}
	found, err := age.ParseIdentities(bytes.NewReader(text))
	if err != nil {
		// age repeats parts of a line that it does not know.
		return nil, exit.Errorf(exit.Usage, "--identity %s: %w", f.file, errNoIdentity)
	}
	return found, nil
}

var errNoIdentity = errors.New("it holds no age identity (a line AGE-SECRET-KEY-1…), or something else beside it; give the file that `kubectl cht catalog keygen` wrote")
