// Package service stands in for the CHT's own services, as far as a backup or a
// restore can touch them: what they ask of CouchDB, and what they send outside.
// In: the environment that the charts give each. Out: the same ports answering.
// It has none of their logic and keeps nothing of its own.
package service
