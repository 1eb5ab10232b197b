// Package ec2tags reads, with the user's own AWS credentials, the EBS snapshots that
// bear the tags of cht-backup. In: a Region. Out: the snapshots as EC2 tells them, for
// snapshot/ebs/tags to put sets together from. It changes nothing.
package ec2tags
