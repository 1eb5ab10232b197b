// Command copy measures how fast files get from a CouchDB's directory into a repository
// in a directory, and back. In: flags; files that it makes itself, as hard to compress as
// CouchDB's. Out: rates and peaks of memory, without compression and sealing, with each
// and with both, beside `cp -r` of the same files to the same disk in the same run. Each
// way runs in a process of its own. It says whether the targets are met and fails for no
// figure; it fails when what comes back is not what was there.
//
// cp leaves its bytes to the page cache, the repository has each object on the disk
// before it goes on. So cp is shown twice: as it is, and with a sync of its file system
// at its end, which is what the repository can be compared with.
package main
