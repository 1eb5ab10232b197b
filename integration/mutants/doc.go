// Mutants shows that the tests hold the safeties: it takes one safety out of the code at
// a time and demands that the test named for it fails.
// In: a list of changes, each of a text that stands once in its file, with the package
// and the test. Out: one line for each, and exit code 1 if one survived. The changed file
// is laid over the sources for one run of go test; the work tree is never touched.
package main
