// Package page is what the benchmarks' outputs have in common: lines that say what
// was run on what, tables, and verdicts on targets. In: figures. Out: text. It
// measures nothing.
package page
