package command

import (
	"os"
	"strings"

	"github.com/spf13/pflag"
	"sigs.k8s.io/yaml"

	"github.com/medic/cht-backup/cmd/kubectl-cht/internal/exit"
	"github.com/medic/cht-backup/cmd/kubectl-cht/internal/move"
	"github.com/medic/cht-backup/snapshot/catalog"
)

// movedFlags are for a backup of a Docker Compose project.
type movedFlags struct {
	values, write string
}

func (f *movedFlags) add(flags *pflag.FlagSet) {
	flags.StringVar(&f.values, "values", "", "Of a Compose project: values of charts/cht, as a YAML `FILE`, that win over those made from the project")
	flags.StringVar(&f.write, "write-values", "", "Of a Compose project: write the values that take the restored CHT over to this `FILE`, which must not be there yet (default: they are shown)")
}

// checkSource refuses what is neither a namespace nor the name of a Compose project's
// backups.
func checkSource(what, namespace string) error {
	if !catalog.IsComposeNamespace(namespace) {
		return checkNamespace(what, namespace)
	}
	if err := catalog.CheckIdentity(namespace, "any", "any"); err != nil {
		return exit.Errorf(exit.Usage, "%s: %w", what, err)
	}
	return nil
}

// move makes the record of a Compose project one of Kubernetes, and tells how Helm takes
// over what is restored from it. Another record stays as it is.
func (e *Env) move(f *restoreFlags, kept *offsiteKept) error {
	if kept.record.Compose == nil {
		if f.given("values") || f.given("write-values") {
			return exit.Errorf(exit.Usage, "--values and --write-values are for the backup of a Docker Compose project; that of %s/%s brings its own objects", kept.record.Namespace, kept.record.Name)
		}
		return nil
	}
	if f.running() {
		return exit.Errorf(exit.Usage, "backup %s/%s is of a Docker Compose project; restore it into an empty namespace with --to", kept.record.Namespace, kept.record.Name)
	}
	o := move.Options{}
	remap, err := f.remaps.remap(e.In)
	if err != nil {
		return err
	}
	if remap != nil && remap.Ingress != nil {
		o.Host = remap.Ingress.Host
	}
	if o.Values, err = f.offsite.moved.read(); err != nil {
		return err
	}
	moved, err := move.Record(kept.record, o)
	if err != nil {
		return exit.Errorf(exit.Refused, "make the objects of charts/cht for backup %s/%s: %w. Values are given with --values", kept.record.Namespace, kept.record.Name, err)
	}
	for _, n := range moved.Notes {
		e.note("%s", n)
	}
	kept.record = moved.Record
	kept.manifest.Secrets.Held = nil // its files stay behind
	return e.tellValues(f, moved.Values)
}

func (f *movedFlags) read() (map[string]any, error) {
	if f.values == "" {
		return nil, nil
	}
	text, err := os.ReadFile(f.values)
	if err != nil {
		return nil, exit.Errorf(exit.Usage, "--values: %w", err)
	}
	values := map[string]any{}
	if err := yaml.Unmarshal(text, &values); err != nil {
		return nil, exit.Errorf(exit.Usage, "--values %s is no YAML of values", f.values) // it may hold what is secret
	}
	return values, nil
}

// tellValues says with what Helm takes over.
func (e *Env) tellValues(f *restoreFlags, values string) error {
	file := f.offsite.moved.write
	if file == "" {
		file = "values.yaml"
		e.note("values of charts/cht that take the restored CHT over, to be kept as %s:\n\n%s", file, strings.TrimRight(values, "\n"))
	} else {
		out, err := os.OpenFile(file, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
		if err != nil {
			return exit.Errorf(exit.Usage, "--write-values: %w", err)
		}
		_, err = out.WriteString(values)
		if closed := out.Close(); err == nil {
			err = closed
		}
		if err != nil {
			return exit.Errorf(exit.Failed, "--write-values: %w", err)
		}
	}
	e.note("once it is restored live, Helm takes it over: helm upgrade --install %s charts/cht -n %s -f %s", move.Release, f.to, file)
	return nil
}
