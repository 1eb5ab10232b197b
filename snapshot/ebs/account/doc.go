// Package account gives EC2 clients of an AWS account, one for each Region, with the
// credentials, the Region and the endpoint that the SDK's own chain finds.
// In: the environment. Out: clients that share rates and retries.
// It asks AWS for nothing before somebody needs it, never waits long for what is not
// there, and keeps credentials to itself.
package account
