// Package quiesce holds all CouchDB nodes still at once, for the time of one
// function call, and says whether they were held without a gap.
// In: one open stream to each node and a bound. Out: the moments of the stall,
// and an error unless every node was held from before the call until after it.
// It never leaves a node held: each hold lives in its stream, and closing the
// stream, or losing it, releases the node.
package quiesce
