// Package loopcsi is a CSI driver for tests: a volume is a sparse image file on a
// loop device, a snapshot a reflink of that file, which is a point-in-time copy of
// the block device as a cloud disk's is.
// In: CSI calls, with fault knobs as class parameters. Out: mounted volumes, cuts.
// It never flushes a file system before a cut and never freezes one: what a cut
// misses because nobody did is what tests are there to see.
package loopcsi
