// Package freezer is the node's side of the quiesce mode Freeze: it runs in a
// pod beside one CouchDB, sees that CouchDB's volume and nothing else.
// In: lines on stdin ("hold", "release") and a deadline. Out: one JSON line for
// each state. A freeze ends with its stream, its deadline, a signal, or the loss
// of its watchdog, whichever comes first; a container that starts thaws first.
// It never writes to the volume, and never freezes what it shares with others.
package freezer
