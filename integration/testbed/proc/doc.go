// Package proc starts processes that outlive their starter, remembers them in
// files, and stops them.
// In: a command line, a name. Out: a record with pid and start time.
// It never signals a process whose start time differs from the recorded one: a
// pid that the kernel gave to somebody else meanwhile is left alone.
package proc
