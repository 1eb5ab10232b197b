{{- define "gvDetails" }}
| kind | |
|---|---|
{{- range .SortedKinds }}{{ $t := $.TypeForKind . }}
| [{{ $t.Name }}](#{{ lower $t.Name }}) | {{ $t.Doc | replace "\n" " " }} |
{{- end }}
{{ range .SortedKinds }}{{ template "type" ($.TypeForKind .) }}{{ end }}
{{- range .SortedTypes }}{{ if not .GVK }}{{ template "type" . }}{{ end }}{{ end }}
{{- end -}}
