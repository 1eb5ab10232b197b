// Package e2e proves the product's promises on a real Kubernetes, from outside:
// by documents, by requests that a writer made, by packets, and by what is left
// in the cluster. Timing is never asserted, but for bounds that are promises.
package e2e
