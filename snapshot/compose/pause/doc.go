// Package pause holds CouchDB's processes on this machine still by SIGSTOP, all of them
// at once, for the time of one function call.
// In: process ids, a bound. Out: an error unless every thread of every process was
// stopped from before the call until after it. A process of its own watches: whatever
// becomes of the one that holds, and be it killed, the held ones are continued. It asks
// no container engine, and changes nothing else.
package pause
