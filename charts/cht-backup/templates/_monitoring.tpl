{{/* The job that tells this release's series from another's. */}}
{{- define "cht-backup.monitoring.job" -}}
{{- .Values.metrics.job | default (printf "%s/%s" (include "cht-backup.home" .) (include "cht-backup.fullname" .)) -}}
{{- end -}}

{{/* Metadata of an object: dict "root" $ "of" the values of its kind "name" its name, optional. */}}
{{- define "cht-backup.monitoring.metadata" -}}
name: {{ .name | default (include "cht-backup.fullname" .root) }}
namespace: {{ .of.namespace | default (include "cht-backup.home" .root) }}
labels:
  {{- include "cht-backup.labels" .root | nindent 2 }}
  {{- with .of.labels }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end -}}

{{/* An endpoint of a PodMonitor or ServiceMonitor. Our label namespace is the CHT's. */}}
{{- define "cht-backup.monitoring.endpoint" -}}
{{- if not (include "cht-backup.port" (dict "config" .root.Values.config "key" "metrics-address" "default" ":8080")) -}}
{{- fail "a PodMonitor or ServiceMonitor is enabled, and config.metrics-address is 0: there is nothing to scrape" -}}
{{- end -}}
port: metrics
path: /metrics
interval: {{ .of.interval }}
honorLabels: true
relabelings:
  - {action: replace, targetLabel: job, replacement: {{ include "cht-backup.monitoring.job" .root | quote }}}
{{- end -}}
