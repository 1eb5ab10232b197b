{{/* The kinds that are in no namespace. A kind that is missing here lands in the
Roles, where it grants nothing: too little, never too much. */}}
{{- define "cht-backup.clusterKinds" -}}
namespaces nodes persistentvolumes volumesnapshotcontents volumesnapshotclasses storageclasses csidrivers csinodes ingressclasses
{{- end -}}

{{/* What the controller needs in its own namespace: records, leases, its reports, and
the Backups that show what a catalog has. */}}
{{- define "cht-backup.homeKinds" -}}
secrets configmaps leases events backups
{{- end -}}

{{/*
The rules of files/role.yaml, which is made from the code, for kinds that are in a
namespace (of: Namespaced), in none (of: Cluster), or in the controller's own (of: Home).
Without rights in namespaces that are not there yet, none may be made nor deleted.
*/}}
{{- define "cht-backup.rules" -}}
{{- $cluster := include "cht-backup.clusterKinds" . | splitList " " }}
{{- $home := include "cht-backup.homeKinds" . | splitList " " }}
{{- range $rule := (.root.Files.Get "files/role.yaml" | fromYaml).rules }}
{{- $kept := list }}
{{- range $resource := $rule.resources }}
{{- $kind := splitList "/" $resource | first }}
{{- $clusterwide := has $kind $cluster }}
{{- if or (and (eq $.of "Cluster") $clusterwide) (and (eq $.of "Namespaced") (not $clusterwide)) (and (eq $.of "Home") (has $kind $home)) }}
{{- $kept = append $kept $resource }}
{{- end }}
{{- end }}
{{- if has "namespaces" $kept }}
{{- $kept = without $kept "namespaces" }}
- apiGroups: {{ toJson $rule.apiGroups }}
  resources: [namespaces]
  verbs: {{ without $rule.verbs "create" "delete" | toJson }}
{{- end }}
{{- if $kept }}
- apiGroups: {{ toJson $rule.apiGroups }}
  resources: {{ toJson $kept }}
  verbs: {{ toJson $rule.verbs }}
{{- end }}
{{- end }}
{{- end -}}
