// Package fingerprint notes what a backup holds, for a restore to be compared
// with: the revisions of a random sample of documents, and a digest of every
// database's ids and revisions. In: a CouchDB's answers from before and after the
// cut. Out: what is certain to be in the cut although the CHT was written to all
// the while; what is not certain is left out, and said to be. It never reads a
// database by itself while writes are held: its caller sees to that.
package fingerprint
