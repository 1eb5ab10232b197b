// Package e2e proves the product's promises on a real Kubernetes, from outside:
// by documents, by requests that a writer made, by packets, and by what is left
// in the cluster. Timing is never asserted, but for bounds that are promises.
//
// Tests that change what is the cluster's (they kill the controller, make the
// driver fail, taint the node, enforce policies, count packets) run one at a time.
// The others are parallel: go runs them after those, as many at once as there are
// cores.
package e2e
