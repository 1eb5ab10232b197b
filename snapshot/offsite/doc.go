// Package offsite keeps the records of completed backups in a catalog outside the
// cluster, and shows the records of others that are there.
// In: Backups, their records, a catalog in a bucket. Out: records in the bucket, the
// condition Cataloged and status.catalog; and Backups in the controller's namespace
// that only show what the catalog has. It never fails a backup, and whoever cannot
// reach the bucket waits without a worker.
package offsite
