// Command bench measures what a backup costs the CHT that is backed up. In: a
// cluster (the testbed, or that of E2E_KUBECONFIG) and flags. Out: a table of the
// stall and its parts by number of nodes and mode, beside two named alternatives
// measured in turn with it in the same run, and what the controller used. It
// prints whether the targets are met and never fails for a figure; it fails when
// a backup does. It leaves nothing behind.
package main
