// Package hollow plays what a small machine cannot have hundreds of: a node that says
// that its pods run and answers exec as a kubelet does, speaking the quiesce protocol
// and remembering when it held, and a CSI sidecar with its storage. In: a real API
// server, and the objects there. Out: what they would write. No process is started and
// no byte is stored; the product cannot tell.
package hollow
