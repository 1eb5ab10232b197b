// Package repo keeps the files of CouchDB nodes in a bucket: incremental, sealed, and in
// a form that a crash at any point leaves readable.
// In: frames and trees. Out: objects under v1/files/REPOSITORY/ of a catalog, which are
// written once and never changed, and the frames again. It knows nothing of files, nodes
// or Kubernetes, and decides nothing of when.
//
// A repository is one instance's. Its key, an age identity and the key of the chunks'
// IDs, lies in the bucket sealed to the recipients of whoever owns the data, and with
// whoever writes. A pack is some chunks, each compressed and sealed by itself. A tree
// tells of every file the chunks and their places, so that no index has to be kept: what
// is needed is what the trees name.
package repo
