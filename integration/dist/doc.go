// Command dist makes what a release of the kubectl plugin consists of: an archive for
// each platform, their SHA-256 sums, and the manifest that krew installs from.
//
//	go run ./integration/dist --version v0.1.0 --base-url https://HOST/releases/v0.1.0
//
// In: this repository, a version, the URL prefix under which the archives will lie. Out:
// files in dist/. The same source, Go and version give the same bytes, whenever and
// wherever: files bear a fixed time, binaries no path. It uploads nothing and knows no
// host: the prefix is whoever's who releases.
package main
