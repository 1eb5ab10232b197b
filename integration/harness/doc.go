// Package harness gives tests, the demo and the benchmarks a cluster with the
// product in it, CHTs to work on, and ways to see from outside what happens.
// In: a kubeconfig in E2E_KUBECONFIG, or nothing: then it starts the testbed.
// Out: clients, images, namespaces that go away again, load, dumps, counts of
// packets. It never judges the product by the product's own code.
package harness
