// Package protocol is the line protocol between the controller and what holds
// one node still: the freezer, or the pause script in CouchDB's container.
// The controller sends commands, one a line; the node answers with one JSON
// object a line. End of input means release.
package protocol

// Commands.
const (
	Hold    = "hold"
	Release = "release"
)

// State of a node's hold.
type State string

// States in their order. Error can follow any.
const (
	// Ready: all checks passed; nothing is held.
	Ready State = "ready"
	// Held: nothing can be written any more.
	Held State = "held"
	// Released: the node runs again; Message.Held says whether it was held all along.
	Released State = "released"
	// Error: nothing is held; Message.Reason and Message.Text say why.
	Error State = "error"
)

// Message is one answer.
type Message struct {
	State State `json:"state"`
	// Held, with Released: the hold was unbroken until the release was asked for.
	Held bool `json:"held,omitempty"`
	// Micros is how long the step took on the node, in microseconds.
	Micros int64 `json:"micros,omitempty"`
	// Reason is a condition reason of the API, with Error or a broken hold.
	Reason string `json:"reason,omitempty"`
	// Text says it in words.
	Text string `json:"text,omitempty"`
}
