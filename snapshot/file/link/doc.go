// Package link is how the controller and a pod beside CouchDB speak: HTTP over TLS
// whose both ends know each other's certificate. In: a node's files or its volume, on the
// pod's side; a way to run a command in the pod, and its address, on the controller's.
// Out, there: the files as a transfer.Source, the volume as a transfer.Sink.
//
// Both certificates are made when a process starts, and are known to nobody else. The
// command `admit` in the pod carries them: what is trusted is the exec stream, which the
// API server gives to none who may not exec there. The controller signs what the pod
// asks, so that an admission that somebody has overheard admits nobody. A later one
// takes the earlier one's place: after a restart of the controller the pod knows the new
// one, and cuts the old one off.
//
// No secret but the key of the chunks' IDs ever crosses it.
//
// A copier's pod runs `cht-backup copier serve --volume /volume --data SUBPATH` with
// `--config SUBPATH` where local.d lies on the claim: as root, whose files CouchDB's are
// not, so with the capability DAC_OVERRIDE and no other (DAC_READ_SEARCH would do, but no
// namespace that enforces the level baseline allows it); the claim mounted read-only at
// /volume, an emptyDir at /scratch, a read-only root, TCP port Port. A filler's runs
// `cht-backup fill serve --volume /volume --data SUBPATH … --tree TREE`, the claim mounted
// for writing, with DAC_OVERRIDE, CHOWN and FOWNER. Both end by themselves: after Close or
// Finish with success, with an error when nobody has asked for anything for `--idle`.
package link
