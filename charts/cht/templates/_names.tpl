{{/*
What names, labels, images and nodes are called. Names and the label cht.service are
those of the CHT's own charts and cannot be chosen: tools, documentation and the
immutable selectors of what is installed already depend on them.
*/}}

{{/* Labels of an object. In: dict "root" $ "service" its cht.service, or "". */}}
{{- define "cht.labels" -}}
app.kubernetes.io/part-of: cht
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{- with .service }}
cht.service: {{ . }}
{{- end }}
{{- end }}

{{/* Host name of a Service. In: dict "root" $ "service" its name. */}}
{{- define "cht.host" -}}
{{ .service }}.{{ .root.Release.Namespace }}.svc.cluster.local
{{- end }}

{{/* Image of a component. In: dict "root" $ "key" its key in images "name" its name in the registry. */}}
{{- define "cht.image" -}}
{{- $own := index .root.Values.images .key }}
{{- $image := .root.Values.image }}
{{- if $own -}}
{{ $own }}
{{- else if not .name -}}
{{- fail (printf "images.%s: no image is given, and the CHT publishes none of that name with its tags. Set images.%s to the full image, or %s.enabled to false." .key .key .key) }}
{{- else if not $image.registry -}}
{{- fail (printf "image.registry: no registry is given, so there is no image for %s. Set image.registry and image.tag to those that the CHT publishes, or images.%s to a full image." .name .key) }}
{{- else if not $image.tag -}}
{{- fail (printf "image.tag: no tag is given, so there is no image for %s. Set image.tag to the CHT's version, or images.%s to a full image." .name .key) }}
{{- else -}}
{{ trimSuffix "/" $image.registry }}/{{ .name }}:{{ $image.tag }}
{{- end }}
{{- end }}

{{/*
A CouchDB node as JSON: number (from 1), service, claim, host, nouveau, volume (the
name of its PersistentVolume), subPath, and own, what couchdb.perNode says of it.
In: dict "root" $ "index" from 0.
*/}}
{{- define "cht.node" -}}
{{- $values := .root.Values.couchdb }}
{{- $number := add .index 1 }}
{{- $suffix := ternary "" (printf "-%d" $number) (eq (int $values.nodes) 1) }}
{{- $own := dict }}
{{- if lt .index (len $values.perNode) }}{{ $own = index $values.perNode .index }}{{ end }}
{{- $subPath := $values.dataSubPath }}
{{- if hasKey $own "dataSubPath" }}{{ $subPath = $own.dataSubPath }}{{ end }}
{{- $existing := dict }}
{{- if lt .index (len $values.existingVolumes) }}{{ $existing = index $values.existingVolumes .index }}{{ end }}
{{- $service := printf "couchdb%s" $suffix }}
{{- dict "number" $number "service" $service "claim" (printf "%s-claim0" $service) "claimName" ($existing.claim | default (printf "%s-claim0" $service))
  "host" (include "cht.host" (dict "root" .root "service" $service)) "nouveau" (printf "nouveau%s" $suffix)
  "volume" (printf "couchdb-pv-%s%s" .root.Release.Namespace $suffix)
  "subPath" (replace "%d" (toString $number) $subPath) "own" $own "existing" $existing | toJson }}
{{- end }}

{{/* Host names of all CouchDB nodes, with commas between. */}}
{{- define "cht.servers" -}}
{{- $hosts := list }}
{{- range $i := until (int .Values.couchdb.nodes) }}
{{- $hosts = append $hosts (include "cht.node" (dict "root" $ "index" $i) | fromJson).host }}
{{- end }}
{{- join "," $hosts }}
{{- end }}

{{/* An environment variable from the credentials. In: dict "key" its name. */}}
{{- define "cht.credential" -}}
- name: {{ . }}
  valueFrom: {secretKeyRef: {name: cht-couchdb-credentials, key: {{ . }}}}
{{- end }}

{{- define "cht.server" -}}
- name: {{ . }}
  valueFrom: {configMapKeyRef: {name: couchdb-servers-configmap, key: {{ . }}}}
{{- end }}
