// Command ebs measures backups of EBS volumes against the fake of EC2. In: flags. Out:
// how long writes are held while three volumes are cut at once, beside the same cut one
// volume after the other; then, played, the nights of many instances in one account.
//
//	go run ./integration/bench/ebs                    # some three minutes, then half an hour
//	go run ./integration/bench/ebs --instances 20 --nights 3 --keep 3 --others 200
//
// Neither Kubernetes nor AWS is needed. The nodes that are held hold nothing: what is
// measured is the cut and what the hold adds to it.
package main
