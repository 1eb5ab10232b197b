{{/* The controller's settings, as they stand in its ConfigMap. What has a key of its
own among the values is put there by it; .Values.config wins for the rest. */}}
{{- define "cht-backup.settings" -}}
{{- $catalog := .Values.controller.catalog }}
{{- $own := dict }}
{{- if include "cht-backup.onVolume" . }}
{{- $_ := set $own "catalog-url" "file:///var/lib/cht-backup/catalog" }}
{{- else if not (or (eq $catalog.url "") (eq $catalog.url "none")) }}
{{- $_ := set $own "catalog-url" $catalog.url }}
{{- end }}
{{- if $catalog.recipients }}{{ $_ := set $own "catalog-recipients" $catalog.recipients }}{{ end }}
{{- if ne (toString $catalog.syncInterval) "" }}{{ $_ := set $own "catalog-sync-interval" (toString $catalog.syncInterval) }}{{ end }}
{{- $config := merge (deepCopy .Values.config) $own }}
{{- $serves := (include "cht-backup.serves" . | fromJson).names }}
{{- if and (eq .Values.rbac.scope "Namespaced") (not $serves) }}
{{- fail "rbac.scope is Namespaced and namespaces is empty: list the namespaces of the CHTs, in which the controller gets its rights" }}
{{- end }}
{{- if $serves }}{{ $_ := set $config "namespaces" $serves }}{{ end }}
{{- if ne .Values.rbac.scope "Cluster" }}{{ $_ := set $config "rbac-scope" .Values.rbac.scope }}{{ end }}
{{- /* Two controllers in one namespace do not write over each other's report. */}}
{{- $name := include "cht-backup.fullname" . }}
{{- if ne $name "cht-backup" }}{{ $config = merge $config (dict "checkup-name" (printf "%s-checkup" $name)) }}{{ end }}
{{- toYaml $config }}
{{- end -}}

{{/* "true" where the catalog is on a volume of this cluster. */}}
{{- define "cht-backup.onVolume" -}}
{{- $catalog := .Values.controller.catalog }}
{{- if and (eq $catalog.url "") $catalog.volume.enabled (not (hasKey .Values.config "catalog-url")) }}true{{ end }}
{{- end -}}

{{- define "cht-backup.claim" -}}
{{- .Values.controller.catalog.volume.existingClaim | default (printf "%s-catalog" (include "cht-backup.fullname" .)) -}}
{{- end -}}

{{/* The port of an address setting such as ":8080"; "" where there is none. */}}
{{- define "cht-backup.port" -}}
{{- $address := toString (default .default (index .config .key)) }}
{{- if ne $address "0" }}{{ regexFind "[0-9]+$" $address }}{{ end }}
{{- end -}}
