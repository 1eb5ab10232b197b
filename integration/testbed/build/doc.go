// Package build makes the binaries of the testbed and keeps them by content.
// In: the module's source folder. Out: paths in the cache, by binary name.
// It never rebuilds what is in the cache under the same sources, versions and
// compiler, and it never writes into the source folder.
package build
