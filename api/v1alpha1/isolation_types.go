package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// ConditionIsolated is True on a Restore whose clone was shown to be closed in,
// False when it was not; its reason is the IsolationResult.
const ConditionIsolated = "Isolated"

// IsolationResult is what the probes of a clone came to.
// +kubebuilder:validation:Enum=Enforced;NotEnforced;NotProved
type IsolationResult string

// The results.
const (
	// IsolationEnforced: the probes reached their own CouchDB and nothing else, and
	// something of what they did not reach could be reached from the controller.
	IsolationEnforced IsolationResult = "Enforced"
	// IsolationNotEnforced: a probe reached what the NetworkPolicy denies.
	IsolationNotEnforced IsolationResult = "NotEnforced"
	// IsolationNotProved: the probes reached nothing that is denied, but perhaps for
	// another reason than the policy.
	IsolationNotProved IsolationResult = "NotProved"
)

// Isolation is the evidence that a clone can, or cannot, reach out.
type Isolation struct {
	// Result of all probes together; the reason of condition Isolated.
	Result IsolationResult `json:"result"`
	// Message says why, in words.
	Message string `json:"message,omitempty"`
	// Time of the proof.
	Time metav1.MicroTime `json:"time,omitzero"`
	// Targets are the connections that were tried.
	Targets []IsolationTarget `json:"targets,omitempty"`
}

// IsolationTarget is one address that a probe tried to connect to.
type IsolationTarget struct {
	// From names the workload whose pods the probe stood for: it had their labels.
	From string `json:"from"`
	// Kind tells what the address is.
	Kind TargetKind `json:"kind"`
	// Address is host:port.
	Address string `json:"address"`
	// Outcome from within the clone.
	Outcome Outcome `json:"outcome"`
	// Control is the outcome of the same connection from the controller, which the
	// clone's policy does not concern. Only a failure where the control connected is
	// evidence.
	Control Outcome `json:"control,omitempty"`
	// Rounds is how often it was tried.
	Rounds int32 `json:"rounds,omitempty"`
	// OwnNode says that the address is that of the node the probe ran on, which
	// Kubernetes lets a pod reach whatever the policies say.
	OwnNode bool `json:"ownNode,omitempty"`
}

// TargetKind tells what a probe tried to reach.
// +kubebuilder:validation:Enum=Own;Source;APIServer;Outside
type TargetKind string

// The kinds.
const (
	// TargetOwn is the clone's own CouchDB, which must answer.
	TargetOwn TargetKind = "Own"
	// TargetSource is CouchDB or HAProxy of the instance that was backed up.
	TargetSource TargetKind = "Source"
	// TargetAPIServer is the Kubernetes API server on its node.
	TargetAPIServer TargetKind = "APIServer"
	// TargetOutside is an address that the controller's settings name.
	TargetOutside TargetKind = "Outside"
)

// Outcome is that of a TCP connection.
// +kubebuilder:validation:Enum=Connected;Refused;Timeout;Unreachable
type Outcome string

// The outcomes.
const (
	// OutcomeConnected: the other side accepted.
	OutcomeConnected Outcome = "Connected"
	// OutcomeRefused: something answered that nobody listens there, or that it is forbidden.
	OutcomeRefused Outcome = "Refused"
	// OutcomeTimeout: nothing answered.
	OutcomeTimeout Outcome = "Timeout"
	// OutcomeUnreachable: there is no way, or no such name.
	OutcomeUnreachable Outcome = "Unreachable"
)
