package page

import (
	"strings"
	"testing"
)

func TestTable(t *testing.T) {
	var out strings.Builder
	table := NewTable(&out, "way", "n")
	table.Row("known", "100")
	table.Row("product", "2")
	table.End()
	if want := "      way    n\n    known  100\n  product    2\n"; out.String() != want {
		t.Errorf("%q, want %q", out.String(), want)
	}
}

func TestMachine(t *testing.T) {
	var out strings.Builder
	Machine(&out)
	for _, want := range []string{"machine     ", " cores (", "load average ", "system      linux "} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in %q", want, out.String())
		}
	}
	if Met(true) == Met(false) {
		t.Error("one verdict for both")
	}
}
