// Package tags writes on EBS snapshots what set they are a member of, and puts sets
// together again from nothing but their tags.
// In: what is known of a backup and a node, or a list of snapshots as EC2 tells them.
// Out: tags, or sets with all that is wrong with them.
// It calls nothing. Anybody who may tag a snapshot can write anything there: whatever
// is read is checked, and bounded.
package tags
