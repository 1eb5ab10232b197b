// Package compose runs the backups of a Docker Compose project by systemd's clock, and
// removes those that its retention does not keep.
// In: a catalog, a policy. Out: the units as texts; the records that went. What is kept
// is decided by package retention; other machines' records are never touched.
package compose
