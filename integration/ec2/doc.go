// Package ec2 is a fake of the part of EC2 (and of STS) that has to do with EBS
// volumes and their snapshots. In: requests of the HTTP Query protocol, as the SDKs
// and the aws command send them; volumes and instances that exist; faults. Out: XML
// as EC2's, and what was called. It checks no signature and holds no bytes: whoever
// wants those gives a Backing.
//
// Import it as fake. A Cloud has every Region and account at once: the Region is read
// from the request's credential scope, the account from its access key. Use it
//
//   - with httptest.NewServer(cloud) or the command ec2-fake, as an endpoint;
//   - with cloud.HTTPClient() as the SDK's HTTP client, without a socket.
//
// What it does where AWS documents no error code is marked in the code; nothing
// tested on it may depend on those.
package ec2
