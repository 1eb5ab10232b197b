// Package selftest proves on a running testbed that it does what tests rely on.
// In: a testbed. Out: one line per proof with what it took, or the first failure.
// It never freezes without a thaw armed outside, and removes what it made.
package selftest
