// Package node is what the File method does beside CouchDB, on the machine that has its
// volume. In: where data and configuration lie. Out: a transfer.Source of the files as
// they were at one cut, or a transfer.Sink that fills a volume with such files.
//
// A cut takes three calls. Prepare walks the volume and opens its files, while CouchDB
// writes, and may be called again: then it looks only at what changed. Measure is called
// while every node is held still: it looks at what changed once more, notes how long each
// file is and reads the configuration, views before shards before _dbs and _nodes before
// ini. It reads no database and waits for nothing. What the Source then gives are that many
// bytes of the files that are held open, whatever CouchDB does with them: its files only
// grow, and one that is removed stays as long as somebody has it open.
//
// It never writes to a volume that it copies from, never follows a symbolic link below
// it, and knows nothing of the network, of repositories or of Kubernetes.
package node
