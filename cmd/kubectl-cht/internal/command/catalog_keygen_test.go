package command

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"filippo.io/age"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/medic/cht-backup/cmd/kubectl-cht/internal/exit"
)

func TestKeygen(t *testing.T) {
	w := newWorld(t, interceptor.Funcs{})
	file := filepath.Join(t.TempDir(), "key")
	w.mustRun(t, exit.Good, nil, "catalog", "keygen", "-o", file)
	info, err := os.Stat(file)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("%v, %v", info, err)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	ids, err := age.ParseIdentities(bytes.NewReader(text))
	if err != nil || len(ids) != 1 {
		t.Fatalf("%d identities, %v", len(ids), err)
	}
	id, ok := ids[0].(*age.X25519Identity)
	if !ok || !strings.Contains(w.out.String(), "catalog-recipients: ["+id.Recipient().String()+"]") || !strings.Contains(w.out.String(), "off the cluster") || !strings.Contains(w.out.String(), "lost") {
		t.Errorf("printed:\n%s", w.out)
	}
	if all := w.out.String() + w.er.String(); strings.Contains(all, "SECRET-KEY") {
		t.Errorf("the identity is printed:\n%s", all)
	}
	w.mustRun(t, exit.Refused, []string{"not overwritten", "-o"}, "catalog", "keygen", "-o", file)
	if again, err := os.ReadFile(file); err != nil || !bytes.Equal(again, text) {
		t.Errorf("the key there was touched (%v)", err)
	}
	w.mustRun(t, exit.Usage, []string{"never printed"}, "catalog", "keygen", "-o", "-")
	w.mustRun(t, exit.Failed, []string{"-o"}, "catalog", "keygen", "-o", filepath.Join(file, "x"))
}

func TestIdentityFile(t *testing.T) {
	dir := t.TempDir()
	id, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	write := func(name, text string) string {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	const secret = "AGE-SECRET-KEY-1HALFAKEY"
	for name, tt := range map[string]struct {
		file, stdin, says string
		count             int
	}{
		"none":         {},
		"a file":       {file: write("good", "# comment\n"+id.String()+"\n"), count: 1},
		"stdin":        {file: "-", stdin: id.String(), count: 1},
		"no such file": {file: filepath.Join(dir, "nothing"), says: "keygen"},
		"half a key":   {file: write("half", secret), says: "holds no age identity"},
		"empty":        {file: write("empty", ""), says: "holds no age identity"},
		"encrypted":    {file: write("enc", "age-encryption.org/v1\n-> scrypt"), says: "itself encrypted"},
		"armored":      {file: write("armor", "-----BEGIN AGE ENCRYPTED FILE-----"), says: "itself encrypted"},
		"a recipient":  {file: write("pub", id.Recipient().String()), says: "holds no age identity"},
		"huge":         {file: write("huge", strings.Repeat("#\n", maxIdentity)), says: "larger than 1 MiB"},
	} {
		t.Run(name, func(t *testing.T) {
			f := identityFlag{file: tt.file}
			got, err := f.identities(strings.NewReader(tt.stdin))
			if tt.says == "" && (err != nil || len(got) != tt.count) || tt.says != "" && (err == nil || !strings.Contains(err.Error(), tt.says)) {
				t.Errorf("%d, %v", len(got), err)
			}
			if err != nil && strings.Contains(err.Error(), secret) {
				t.Errorf("the error repeats the key: %v", err)
			}
		})
	}
}
