// Package load fills a CHT with data, writes to it while others back it up, and
// reads back what is there.
// In: a CouchDB address and how much. Out: lines of JSON, one for each write or
// pair, and dumps; and the judgement of one against the other.
// It never tries a failed write again and never hides one.
package load
