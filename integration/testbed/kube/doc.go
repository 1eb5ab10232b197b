// Package kube is the little of a Kubernetes client that the testbed needs to set
// itself up and to test itself, over plain HTTP: client-go would take minutes to
// compile before the first line of output.
// In: a kubeconfig with embedded certificates. Out: objects as maps.
// It never retries a refused request, and it never caches.
package kube
