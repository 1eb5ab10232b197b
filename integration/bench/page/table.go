package page

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
)

// Table aligns columns to the right.
type Table struct{ w *tabwriter.Writer }

// NewTable begins one with the names of its columns.
func NewTable(out io.Writer, head ...string) Table {
	t := Table{w: tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)}
	t.Row(head...)
	return t
}

// Row adds one.
func (t Table) Row(cells ...string) { _, _ = fmt.Fprintln(t.w, strings.Join(cells, "\t")+"\t") }

// End prints it.
func (t Table) End() { _ = t.w.Flush() }

// Met is the verdict on a target.
func Met(yes bool) string {
	if yes {
		return "met"
	}
	return "NOT MET"
}
