{{/*
Names, places and labels. Everything else in this chart asks here, so that a
release is called the same everywhere.
*/}}

{{/* The name of the controller and of what belongs to it. The label
app.kubernetes.io/name stays cht-backup, whatever this is: kubectl cht finds the
controller by it. */}}
{{- define "cht-backup.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 45 | trimSuffix "-" -}}
{{- else -}}
{{- $name := default "cht-backup" .Values.nameOverride -}}
{{- if contains $name .Release.Name -}}
{{- .Release.Name | trunc 45 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 45 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* The namespace of the controller, its records and its catalog's claim. */}}
{{- define "cht-backup.home" -}}
{{- $home := tpl (default "" .Values.namespaceOverride) . | trim | default .Release.Namespace -}}
{{- if not (regexMatch "^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$" $home) -}}
{{- fail (printf "namespaceOverride gives %q, which is no name of a namespace: lower-case letters, digits and dashes, at most 63" $home) -}}
{{- end -}}
{{- $home -}}
{{- end -}}

{{/* The name of what is in no namespace. Releases of one name may be in several
namespaces, so it has the namespace in it, but for the one where cht-backup is by
custom. A dot, which no namespace has in its name, keeps the two apart. */}}
{{- define "cht-backup.clusterName" -}}
{{- $home := include "cht-backup.home" . -}}
{{- if eq $home "cht-backup-system" -}}
{{- include "cht-backup.fullname" . -}}
{{- else -}}
{{- printf "%s.%s" (include "cht-backup.fullname" .) $home -}}
{{- end -}}
{{- end -}}

{{- define "cht-backup.serviceAccount" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "cht-backup.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- default "default" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{/* Labels by which the Deployment finds its pods. They can never change. */}}
{{- define "cht-backup.selector" -}}
app.kubernetes.io/name: cht-backup
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "cht-backup.labels" -}}
{{ include "cht-backup.selector" . }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 }}
{{- end -}}

{{- define "cht-backup.image" -}}
{{- if .Values.image.digest -}}
{{- printf "%s@%s" .Values.image.repository .Values.image.digest -}}
{{- else -}}
{{- printf "%s:%s" .Values.image.repository (.Values.image.tag | default .Chart.AppVersion | toString) -}}
{{- end -}}
{{- end -}}

{{/* The namespaces that are served, as JSON in a map: {"names": […]}; none is all. */}}
{{- define "cht-backup.serves" -}}
{{- $names := list -}}
{{- range .Values.namespaces -}}
{{- $name := tpl . $ | trim -}}
{{- if not (regexMatch "^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$" $name) -}}
{{- fail (printf "namespaces has %q, which gives %q: no name of a namespace (lower-case letters, digits and dashes, at most 63)" . $name) -}}
{{- end -}}
{{- $names = append $names $name -}}
{{- end -}}
{{- dict "names" ($names | uniq) | toJson -}}
{{- end -}}
