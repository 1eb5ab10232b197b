{{- define "type" -}}
{{- $type := . -}}
{{- if markdownShouldRenderType $type }}
## {{ $type.Name }}

{{ trim $type.Doc }}
{{- if $type.SortedReferences }}

In:{{ range $i, $r := $type.SortedReferences }}{{ if $i }},{{ end }} {{ markdownRenderTypeLink $r }}{{ end }}
{{- end }}
{{- with index $type.Markers "kubebuilder:validation:XValidation" }}

Refused with:
{{ range . }}
- {{ .Message }}
{{- end }}
{{- end }}
{{- if and $type.Validation (not $type.Members) (not $type.EnumValues) }}

Allowed:{{ range $i, $v := $type.Validation }}{{ if $i }},{{ end }} `{{ $v | replace "`" "" }}`{{ end }}
{{- end }}
{{- if $type.Members }}

| field | | default | allowed |
|---|---|---|---|
{{- range $type.Members }}
| `{{ .Name }}`<br>{{ template "member_type" .Type }} | {{ if eq .Name "metadata" }}Name, namespace, labels and so on, as of every object.{{ else }}{{ template "text" .Doc }}{{ end }} | {{ with .Default }}`{{ . | toString | trimAll "\"" | replace "{  }" "{}" }}`{{ end }} | {{ template "type_members" . }} |
{{- end }}
{{- end }}
{{- if $type.EnumValues }}

| value | |
|---|---|
{{- range $type.EnumValues }}
| `{{ .Name }}` | {{ template "text" (regexReplaceAll "^[A-Z][A-Za-z]+:? " .Doc "") }} |
{{- end }}
{{- end }}
{{ end -}}
{{- end -}}

{{- define "text" -}}
{{ . | trim | replace "\n" " " | replace "|" "\\|" }}
{{- end -}}

{{- define "member_type" -}}
{{- $t := markdownRenderType . -}}
{{- /* Kinds of Kubernetes itself by name alone; a map behind a pointer is taken for a type. */ -}}
{{- $t = regexReplaceAll "\\[([^]]+)\\]\\(https:[^)]*\\)" $t "${1}" -}}
{{- $t = regexReplaceAll "\\[map\\[string\\]([A-Za-z]+)\\]\\(#map\\[string\\]([a-z]+)\\)" $t "object (keys:string, values:[${1}](#${2}))" -}}
{{- $t -}}
{{- end -}}
