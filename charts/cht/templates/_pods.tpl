{{/*
What the pods of all components have in common. In: dict "root" $ "values" the
component's values, and "nodeSelector", "tolerations", "affinity" in place of theirs
where the caller knows better. Out: fields of a pod's spec.
*/}}
{{- define "cht.pod" -}}
restartPolicy: Always
# They start by name; nothing reads the environment that Kubernetes makes for each
# Service of the namespace, and some of it looks like settings (API_PORT).
enableServiceLinks: false
{{- with .root.Values.imagePullSecrets }}
imagePullSecrets: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .values.terminationGracePeriodSeconds }}
terminationGracePeriodSeconds: {{ . }}
{{- end }}
{{- with .values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with .nodeSelector | default .values.nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .tolerations | default .values.tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .affinity | default .values.affinity }}
affinity: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .values.topologySpreadConstraints }}
topologySpreadConstraints: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* Metadata of a pod. In: dict "service" its cht.service "values" the component's, and "annotations". */}}
{{- define "cht.podMetadata" -}}
labels:
  cht.service: {{ .service }}
  {{- with .values.podLabels }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- with merge (dict) (.annotations | default dict) .values.podAnnotations }}
annotations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* What the containers of all components have in common. In: dict "root" $ "values". */}}
{{- define "cht.container" -}}
imagePullPolicy: {{ .root.Values.image.pullPolicy }}
{{- with .values.command }}
command: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .values.args }}
args: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .values.resources }}
resources: {{- toYaml . | nindent 2 }}
{{- end }}
securityContext: {{- toYaml .values.securityContext | nindent 2 }}
{{- end }}

{{/*
The probes of CouchDB ask in its container, where credentials are in the environment:
in no pod's spec, in no command line (curl reads them from a pipe). curl is in the
CHT's image; wget of busybox is enough for others.

Alive is whatever answers HTTP, 401 too: somebody who changed the admin's password in
CouchDB alone must not have it killed for that. Ready is who lets the credentials in.
*/}}
{{- define "cht.couchdb.alive" -}}
if command -v curl >/dev/null; then
  exec curl -s -m {{ .timeout }} -o /dev/null http://127.0.0.1:5984/_up
fi
wget -S -q -T {{ .timeout }} -O /dev/null http://127.0.0.1:5984/_up 2>&1 | grep -q HTTP/
{{- end }}

{{- define "cht.couchdb.ready" -}}
auth="Authorization: Basic $(printf '%s:%s' "$COUCHDB_USER" "$COUCHDB_PASSWORD" | base64 | tr -d '\n')"
if command -v curl >/dev/null; then
  printf 'header = "%s"\n' "$auth" | curl -s -f -m {{ .timeout }} -o /dev/null -K - http://127.0.0.1:5984/_up
else
  wget -q -T {{ .timeout }} -O /dev/null --header "$auth" http://127.0.0.1:5984/_up
fi
{{- end }}

{{/* A probe by one of the scripts above. In: dict "script" its text "values" timeoutSeconds, periodSeconds, failureThreshold. */}}
{{- define "cht.couchdb.probe" -}}
exec:
  command:
    - /bin/sh
    - -c
    - |
      {{- include .script (dict "timeout" (max 1 (sub (int .values.timeoutSeconds) 1))) | nindent 6 }}
timeoutSeconds: {{ .values.timeoutSeconds }}
periodSeconds: {{ .values.periodSeconds }}
failureThreshold: {{ .values.failureThreshold }}
{{- end }}
