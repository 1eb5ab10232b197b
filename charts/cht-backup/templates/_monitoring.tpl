{{/* What the objects of monitoring are called: as the controller's Deployment. */}}
{{- define "cht-backup.monitoring.name" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 63 | trimSuffix "-" -}}
{{- else if contains "cht-backup" .Release.Name -}}
{{- .Release.Name | trunc 63 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-cht-backup" .Release.Name | trunc 63 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{/* Where the controller runs. */}}
{{- define "cht-backup.monitoring.namespace" -}}
{{- tpl (.Values.namespaceOverride | default "") . | default .Release.Namespace -}}
{{- end -}}

{{/* The job that tells this release's series from another's. */}}
{{- define "cht-backup.monitoring.job" -}}
{{- .Values.metrics.job | default (printf "%s/%s" (include "cht-backup.monitoring.namespace" .) (include "cht-backup.monitoring.name" .)) -}}
{{- end -}}

{{/* Metadata of an object: dict "root" $ "of" the values of its kind "name" its name, optional. */}}
{{- define "cht-backup.monitoring.metadata" -}}
name: {{ .name | default (include "cht-backup.monitoring.name" .root) }}
namespace: {{ .of.namespace | default (include "cht-backup.monitoring.namespace" .root) }}
labels:
  app.kubernetes.io/name: cht-backup
  app.kubernetes.io/instance: {{ .root.Release.Name }}
  {{- with .of.labels }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end -}}

{{/* An endpoint of a PodMonitor or ServiceMonitor. Our label namespace is the CHT's. */}}
{{- define "cht-backup.monitoring.endpoint" -}}
port: metrics
path: /metrics
interval: {{ .of.interval }}
honorLabels: true
relabelings:
  - {action: replace, targetLabel: job, replacement: {{ include "cht-backup.monitoring.job" .root | quote }}}
{{- end -}}
