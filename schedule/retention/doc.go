// Package retention decides which of a schedule's backups are kept. In: a policy, a
// zone, the time, and what is known of each backup. Out: for each, keep or remove
// and why. It reads no clock, removes nothing, and never names the last good backup,
// the newest proven one, or one that is held, locked, in use or under way.
package retention
