// Package bucket keeps records of backups in an object store, where they outlive the
// cluster: a catalog.
// In: a URL and records. Out: objects in the layout of docs/catalog.md, and the
// records again. A record is there once its manifest is, which is written last and
// never changed. The instance's Secrets, and what else looks like one, leave the
// cluster only sealed to age recipients; who opens them needs the identity, which
// this package never writes. Everything that is read is bounded and checked: whoever
// can write to a bucket may have meant harm. It decides nothing of when.
package bucket
