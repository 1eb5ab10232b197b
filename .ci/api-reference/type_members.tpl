{{- define "type_members" -}}
{{- $parts := list -}}
{{- $own := contains "](#" (markdownRenderType .Type) -}}
{{- $said := list -}}
{{- if $own -}}
{{- range index .Type.Markers "kubebuilder:validation:XValidation" -}}{{- $said = append $said .Message -}}{{- end -}}
{{- range .Type.Validation -}}{{- $said = append $said . -}}{{- end -}}
{{- if .Type.UnderlyingType -}}{{- range .Type.UnderlyingType.Validation -}}{{- $said = append $said . -}}{{- end -}}{{- end -}}
{{- end -}}
{{- range .Validation -}}
{{- if not (or (hasPrefix "Required:" .) (hasPrefix "Optional:" .) (hasPrefix "Type:" .) (has . $said)) -}}
{{- $parts = append $parts (printf "`%s`" (. | replace "`" "" | replace "|" "\\|")) -}}
{{- end -}}
{{- end -}}
{{- range index .Markers "kubebuilder:validation:XValidation" -}}
{{- if not (has .Message $said) -}}
{{- $parts = append $parts (.Message | replace "|" "\\|") -}}
{{- end -}}
{{- end -}}
{{- join "; " $parts -}}
{{- end -}}
