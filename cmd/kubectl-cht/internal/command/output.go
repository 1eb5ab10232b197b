package command

import (
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/spf13/pflag"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/cli-runtime/pkg/printers"
	"sigs.k8s.io/controller-runtime/pkg/client/apiutil"

	"github.com/medic/cht-backup/cmd/kubectl-cht/internal/exit"
	"github.com/medic/cht-backup/cmd/kubectl-cht/internal/show"
)

// format is the value of -o.
type format struct {
	value string
	known []string
}

// outputUsage begins the flag's usage; completion reads on from there.
const outputUsage = "Print objects instead of text: "

func (f *format) add(flags *pflag.FlagSet, known ...string) {
	f.known = known
	flags.StringVarP(&f.value, "output", "o", "", outputUsage+strings.Join(known, ", "))
}

func (f *format) check() error {
	if f.value == "" || slices.Contains(f.known, f.value) {
		return nil
	}
	return exit.Errorf(exit.Usage, "-o %q is not known here; use one of: %s", f.value, strings.Join(f.known, ", "))
}

// objects tells whether stdout is for objects only.
func (f *format) objects() bool { return f.value != "" && f.value != "wide" }

// print writes one object, or a list, as -o says.
func (f *format) print(obj runtime.Object, w io.Writer) error {
	if err := typed(obj); err != nil {
		return err
	}
	return f.raw(obj, w)
}

// raw writes an object that carries its kind.
func (f *format) raw(obj runtime.Object, w io.Writer) error {
	var printer printers.ResourcePrinter
	switch f.value {
	case "json":
		printer = &printers.OmitManagedFieldsPrinter{Delegate: &printers.JSONPrinter{}}
	case "yaml":
		printer = &printers.OmitManagedFieldsPrinter{Delegate: &printers.YAMLPrinter{}}
	default:
		printer = &printers.NamePrinter{}
	}
	return printer.PrintObj(obj, w)
}

// typed writes kind and version into an object: the client drops them, and an
// object without them cannot be applied again.
func typed(obj runtime.Object) error {
	gvk, err := apiutil.GVKForObject(obj, Scheme())
	if err != nil {
		return err
	}
	obj.GetObjectKind().SetGroupVersionKind(gvk)
	return nil
}

// text is where words for people go: stdout, unless that is for objects.
func (e *Env) text(f *format) io.Writer {
	if f.objects() {
		return e.ErrOut
	}
	return e.Out
}

func (e *Env) paint(w io.Writer) show.Paint {
	_, isTerminal := e.Terminal(w)
	return show.Paint(isTerminal && !e.Plain && os.Getenv("NO_COLOR") == "")
}

func (e *Env) note(message string, args ...any) {
	_, _ = fmt.Fprintf(e.ErrOut, "note: "+message+"\n", args...) // nowhere left to complain to
}

func writeLines(w io.Writer, lines []string) error {
	if _, err := io.WriteString(w, strings.Join(lines, "\n")+"\n"); err != nil {
		return exit.Errorf(exit.Failed, "write the output: %w", err)
	}
	return nil
}
