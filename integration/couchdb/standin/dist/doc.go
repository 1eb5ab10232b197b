// Package dist joins nodes: a port mapper (4369, the question and answer of
// epmd), a listener (9100) and one long-lived connection per pair of nodes that
// carries calls both ways, after a handshake that proves a shared cookie.
//
// In: node names to reach and calls to make. Out: who is connected, calls to
// serve. Like the Erlang VM it connects to whoever is named, whenever he is
// named, and introduces new nodes to all it knows: nothing here protects a
// clone from its source. It sets no time limit on a call.
package dist
