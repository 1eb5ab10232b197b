// Package compose brings a CHT that Docker Compose runs back from a record: it fills
// empty data directories from the catalog's repository, writes the project's files where
// they lack, and compares what then runs with the record.
// In: a record and directories. Out: filled directories. It deletes nothing: what is in
// the way is refused, or set aside under another name.
package compose
