{{/*
What the schema cannot say: values that do not go together, and values that do not go
with what is in the cluster. Each message names the value, the reason and the next step.
The second kind sees nothing where Helm does not look into the cluster (helm template).
*/}}
{{- define "cht.checks" -}}
{{- include "cht.checks.couchdb" . }}
{{- include "cht.checks.ways" . }}
{{- include "cht.checks.credentials" . }}
{{- include "cht.checks.env" . }}
{{- include "cht.checks.cluster" . }}
{{- end }}

{{- define "cht.checks.couchdb" -}}
{{- $couchdb := .Values.couchdb }}
{{- $nodes := int $couchdb.nodes }}
{{- $volumes := len $couchdb.existingVolumes }}
{{- if and $volumes (ne $volumes $nodes) }}
{{- fail (printf "couchdb.existingVolumes: %d volumes for couchdb.nodes %d. A node started without its volume makes empty shards of its own and says nothing: give one entry for each node, in their order." $volumes $nodes) }}
{{- end }}
{{- if gt (len $couchdb.perNode) $nodes }}
{{- fail (printf "couchdb.perNode: %d entries for couchdb.nodes %d. Remove those beyond, or raise couchdb.nodes." (len $couchdb.perNode) $nodes) }}
{{- end }}
{{- $seen := dict }}
{{- range $i, $volume := $couchdb.existingVolumes }}
{{- $key := toJson (omit $volume "size" "storageClassName" "nodeName" "zone") }}
{{- if or $volume.hostPath $volume.local }}{{ $key = printf "%s on %s" $key ($volume.nodeName | default "") }}{{ end }}
{{- if hasKey $seen $key }}
{{- fail (printf "couchdb.existingVolumes[%d] is the same storage as [%d]. Two nodes on one volume destroy it: name another." $i (int (index $seen $key))) }}
{{- end }}
{{- $_ := set $seen $key $i }}
{{- if and $volume.hostPath (not $volume.nodeName) (gt $nodes 1) }}
{{- fail (printf "couchdb.existingVolumes[%d].hostPath without nodeName: on another machine the path is another, empty folder, and CouchDB fills it. Set nodeName to the machine's kubernetes.io/hostname." $i) }}
{{- end }}
{{- end }}
{{- end }}

{{- define "cht.checks.ways" -}}
{{- $in := .Values.ingress }}
{{- if and (or .Values.api.enabled .Values.sentinel.enabled) (not .Values.haproxy.enabled) }}
{{- fail "haproxy.enabled is false: API and Sentinel reach CouchDB through HAProxy only. Enable it, or set api.enabled and sentinel.enabled to false too." }}
{{- end }}
{{- if and .Values.haproxy.enabled (gt (int .Values.couchdb.nodes) 1) (not .Values.healthcheck.enabled) }}
{{- fail "healthcheck.enabled is false: with more than one CouchDB node HAProxy asks it which are up, and without an answer takes all for down. Enable it." }}
{{- end }}
{{- if and (ne $in.type "none") (not .Values.api.enabled) }}
{{- fail (printf "ingress.type is %s and api.enabled false: it would lead nowhere. Set ingress.type to none." $in.type) }}
{{- end }}
{{- if and $in.tls.secretName (eq $in.type "nginx") }}
{{- fail "ingress.tls.secretName is for ingress.type ingress. For nginx, set nginx.tls.secretName." }}
{{- end }}
{{- if and $in.tls.secretName (not $in.host) }}
{{- fail "ingress.tls.secretName without ingress.host: a certificate is for a host. Set ingress.host." }}
{{- end }}
{{- if eq $in.type "ingress" }}
{{- if eq .Values.platform "eks" }}
{{- if not $in.host }}
{{- fail "ingress.host is empty: on eks load balancers are shared, and without a host this CHT would answer for all. Set ingress.host, or ingress.type to none." }}
{{- end }}
{{- if not (or $in.eks.certificateArn $in.eks.discoverCertificate (index $in.annotations "alb.ingress.kubernetes.io/certificate-arn")) }}
{{- fail "ingress.eks.certificateArn is empty: the load balancer has no certificate for HTTPS. Set it to the certificate's ARN, or ingress.eks.discoverCertificate to true where one for ingress.host is in ACM." }}
{{- end }}
{{- end }}
{{- if and (eq .Values.platform "gke") $in.gke.managedCertificateName (not $in.host) }}
{{- fail "ingress.host is empty: a managed certificate on gke is for a host. Set ingress.host." }}
{{- end }}
{{- end }}
{{- range $key := list "httpNodePort" "httpsNodePort" }}
{{- if and (index $.Values.nginx.service $key) (eq $.Values.nginx.service.type "ClusterIP") }}
{{- fail (printf "nginx.service.%s with nginx.service.type ClusterIP: such a Service has no port on the nodes. Set the type to NodePort, or leave the port out." $key) }}
{{- end }}
{{- end }}
{{- end }}

{{- define "cht.checks.credentials" -}}
{{- $given := .Values.credentials }}
{{- if $given.existingSecret }}
{{- if ne $given.existingSecret "cht-couchdb-credentials" }}
{{- fail (printf "credentials.existingSecret is %s: the CHT's tools and its backups look for Secret cht-couchdb-credentials. Give your Secret that name." $given.existingSecret) }}
{{- end }}
{{- range $key := list "user" "password" "secret" "uuid" }}
{{- if index $given $key }}
{{- fail (printf "credentials.%s together with credentials.existingSecret: the Secret has it already. Leave one of the two out." $key) }}
{{- end }}
{{- end }}
{{- end }}
{{- /* Not in the schema: its messages show the value. */ -}}
{{- if regexMatch "^\\s|\\s$|[\\x00-\\x1f\\x7f]" $given.password }}
{{- fail "credentials.password begins or ends with a blank, or has a line break or another control character: CouchDB's configuration would not hold it as it is. Choose another." }}
{{- end }}
{{- range $key := list "secret" "uuid" }}
{{- if not (regexMatch "^[A-Za-z0-9-]*$" (index $given $key)) }}
{{- fail (printf "credentials.%s has more than letters, digits and dashes. Take the output of uuidgen, or leave it empty." $key) }}
{{- end }}
{{- end }}
{{- if regexMatch "^-(pbkdf2|hashed)[-:]" $given.password }}
{{- fail "credentials.password begins as a hash does, and CouchDB would take it for one. Choose another." }}
{{- end }}
{{- if contains " ;" $given.password }}
{{- fail "credentials.password has a semicolon after a blank, where CouchDB's configuration takes the rest for a comment. Choose another." }}
{{- end }}
{{- end }}

{{/* A name given twice is one that the next upgrade may lose. */}}
{{- define "cht.checks.env" -}}
{{- $made := dict
  "couchdb" (list "COUCHDB_SYNC_ADMINS_NODE" "COUCHDB_LOG_LEVEL" "COUCHDB_PASSWORD" "COUCHDB_SECRET" "COUCHDB_USER" "COUCHDB_UUID" "SVC_NAME" "NODE_COUNT" "NOUVEAU_URL" "CLUSTER_PEER_IPS" "ERL_FLAGS")
  "haproxy" (list "COUCHDB_PASSWORD" "COUCHDB_SERVERS" "COUCHDB_USER" "HAPROXY_IP" "HAPROXY_PORT" "HEALTHCHECK_ADDR")
  "healthcheck" (list "COUCHDB_PASSWORD" "COUCHDB_SERVERS" "COUCHDB_USER")
  "api" (list "NODE_ENV" "LOG_LEVEL" "BUILDS_URL" "COUCH_URL" "UPGRADE_SERVICE_URL" "API_PORT")
  "sentinel" (list "NODE_ENV" "LOG_LEVEL" "API_HOST" "COUCH_URL" "API_PORT")
  "upgradeService" (list "CHT_NAMESPACE" "CHT_DEPLOYMENT_NAME" "UPGRADE_SERVICE_PORT") }}
{{- range $component := list "couchdb" "nouveau" "haproxy" "healthcheck" "api" "sentinel" "upgradeService" "nginx" }}
{{- $names := index $made $component | default list }}
{{- range $i, $variable := (index $.Values $component).env }}
{{- if has $variable.name $names }}
{{- fail (printf "%s.env[%d]: %s is given by the chart or more than once. Remove it; what the chart gives has values of its own." $component $i $variable.name) }}
{{- end }}
{{- $names = append $names $variable.name }}
{{- end }}
{{- end }}
{{- end }}
