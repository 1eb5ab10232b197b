// Package project reads a Docker Compose project from its directory: the compose files,
// the environment they are filled in with, and of each service what a backup and a
// restore need to know. In: a directory. Out: a Project. It runs nothing, asks no
// engine, and understands of Compose what the CHT's files use.
package project
