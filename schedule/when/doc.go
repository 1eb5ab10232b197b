// Package when decides at which instants a schedule is due. In: a cron expression,
// a time zone, a point in time. Out: instants. It reads no clock and keeps nothing.
package when
