// Package show draws Backups, Restores and kept records as text.
// In: objects as the API server gives them, and the time. Out: lines: what a
// terminal shows while waiting, one line per change elsewhere, tables,
// summaries, descriptions. It never reads a clock, a terminal or a cluster.
package show
