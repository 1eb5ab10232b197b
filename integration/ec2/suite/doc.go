// Package suite says as tests what our code relies on in EC2, and asks it of whatever
// stands in for EC2 here: our fake, and moto where it is installed. In: an endpoint.
// Out: what differs, which must be what the table of differences lists. It has no
// code but tests.
package suite
