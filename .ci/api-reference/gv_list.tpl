{{- define "gvList" -}}
<!-- Made by `make generate` from api/v1alpha1. What is wrong here is mended there. -->

# Every field of every kind

The kinds are [Backup](#backup), [BackupSchedule](#backupschedule) and [Restore](#restore), of group
`backup.communityhealthtoolkit.org`, version `v1alpha1`. `kubectl explain backup.spec` tells the same of the version that a cluster has.
The pages say what the fields mean together: [backup.md](../backup.md), [schedule.md](../schedule.md), [restore.md](../restore.md).

A duration is written as in Go: `90s`, `15m`, `2h`; the spans of a retention as `14d`, `3m` (months), `1y6m`. Times are RFC 3339 in UTC. What
a field refuses is checked by the API server: sentences in the last column and under "refused with" are its own words.
{{ range . }}{{ template "gvDetails" . }}{{ end }}
{{- end -}}
