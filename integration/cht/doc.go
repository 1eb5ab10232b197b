// Package cht builds a whole CHT deployment as Kubernetes objects, with the names,
// labels, ports, keys and environment that the CHT's public charts give it.
// In: Options. Out: typed objects; and the wait until all of it works.
// It shares nothing with the packages under test, so that a wrong idea of theirs
// of what a CHT is does not pass by being repeated here.
package cht
