// Package nights plays the nightly backups of many instances in one AWS account
// against the fake of EC2 with AWS's published quotas, through the product's own code
// from Prepare to Discard. In: how many instances, nights and existing snapshots. Out:
// what it took. Time is played: it must run under testing/synctest, which the test
// beside it does; the controller's line of backups is played by two bounds.
package nights
