// Package engine asks a container engine, by a few calls of Docker's API over its unix
// socket, which containers a Compose project has. Podman answers the same ones. In: a
// socket. Out: processes, images and mounts. It stops and starts nothing; the one thing
// that it makes is a named volume, for a restore to fill.
package engine
