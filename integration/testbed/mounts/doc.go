// Package mounts reads what is mounted on this machine, backs mounts and loop
// devices of the testbed with plain files, and takes both away again.
// In: paths. Out: mount points, loop devices.
// It never touches a mount or a loop device whose path it was not given, and it
// never freezes anything (it only thaws).
package mounts
