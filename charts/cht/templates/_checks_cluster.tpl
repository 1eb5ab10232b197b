{{/* Checks against what is in the cluster. */}}
{{- define "cht.checks.cluster" -}}
{{- include "cht.checks.owner" . }}
{{- include "cht.checks.secret" . }}
{{- include "cht.checks.nodes" . }}
{{- include "cht.checks.claims" . }}
{{- include "cht.checks.version" . }}
{{- include "cht.checks.crds" . }}
{{- end }}

{{/* One CHT a namespace: the names are fixed. What belongs to no release is left to
Helm, which says how to give it to one. */}}
{{- define "cht.checks.owner" -}}
{{- if .Release.IsInstall }}
{{- $objects := list (lookup "v1" "ConfigMap" .Release.Namespace "couchdb-servers-configmap") }}
{{- if not .Values.credentials.existingSecret }}{{ $objects = append $objects (lookup "v1" "Secret" .Release.Namespace "cht-couchdb-credentials") }}{{ end }}
{{- range $i := until (int .Values.couchdb.nodes) }}
{{- $node := include "cht.node" (dict "root" $ "index" $i) | fromJson }}
{{- if not $node.existing.claim }}{{ $objects = append $objects (lookup "v1" "PersistentVolumeClaim" $.Release.Namespace $node.claim) }}{{ end }}
{{- end }}
{{- range $objects }}
{{- if . }}
{{- $annotations := .metadata.annotations | default dict }}
{{- $owner := index $annotations "meta.helm.sh/release-name" | default "" }}
{{- if and $owner (ne $owner $.Release.Name) }}
{{- fail (printf "%s is of release %s, and a namespace holds one CHT, since its names are fixed. Install into another namespace; or, where %s was uninstalled and this is to go on with its volumes, install it as %s again." (printf "%s %s/%s" .kind $.Release.Namespace .metadata.name) $owner $owner $owner) }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}

{{/* CouchDB keeps its own copy of the credentials on the volume. */}}
{{- define "cht.checks.secret" -}}
{{- $live := lookup "v1" "Secret" .Release.Namespace "cht-couchdb-credentials" | default dict }}
{{- $data := $live.data | default dict }}
{{- if and $live .Values.credentials.existingSecret }}
{{- range $key := list "COUCHDB_USER" "COUCHDB_PASSWORD" "COUCHDB_SECRET" "COUCHDB_UUID" "COUCH_URL" }}
{{- if not (index $data $key) }}
{{- fail (printf "credentials.existingSecret: Secret %s/cht-couchdb-credentials has no %s. All of COUCHDB_USER, COUCHDB_PASSWORD, COUCHDB_SECRET, COUCHDB_UUID and COUCH_URL (http://USER:PASSWORD@%s:5984/medic, the password percent-encoded) are needed; see docs/takeover.md for the command." $.Release.Namespace $key (include "cht.host" (dict "root" $ "service" "haproxy"))) }}
{{- end }}
{{- end }}
{{- end }}
{{- if index $data "COUCH_URL" | default "" }}
{{- /* Never shown: the password is in it. */ -}}
{{- $host := regexReplaceAll "^.*@([^@:/]*).*$" (b64dec $data.COUCH_URL) "${1}" }}
{{- if not (has $host (list "haproxy" (printf "haproxy.%s" $.Release.Namespace) (printf "haproxy.%s.svc" $.Release.Namespace) (include "cht.host" (dict "root" $ "service" "haproxy")))) }}
{{- fail (printf "COUCH_URL in Secret %s/cht-couchdb-credentials does not lead to this CHT's HAProxy, %s: API and Sentinel would read and write another CHT's documents. Was the Secret copied from another namespace? Correct its COUCH_URL." $.Release.Namespace (include "cht.host" (dict "root" $ "service" "haproxy"))) }}
{{- end }}
{{- end }}
{{- if not .Values.credentials.existingSecret }}
{{- range $key, $given := dict "COUCHDB_USER" .Values.credentials.user "COUCHDB_PASSWORD" .Values.credentials.password "COUCHDB_SECRET" .Values.credentials.secret "COUCHDB_UUID" .Values.credentials.uuid }}
{{- $there := index $data $key | default "" | b64dec }}
{{- if and $given $there (ne $given $there) }}
{{- $value := printf "credentials.%s" (lower (trimPrefix "COUCHDB_" $key)) }}
{{- fail (printf "%s differs from %s in Secret %s/cht-couchdb-credentials. CouchDB keeps its own copy on the volume (local.d), which wins: a change here would only lock the CHT out. Leave %s empty to keep what is there. To change the password: in CouchDB first (PUT /_node/_local/_config/admins/USER on every node), then in the Secret with COUCH_URL, then restart all Deployments." $value $key $.Release.Namespace $value) }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}

{{/* Documents lie on the nodes that they were written to. */}}
{{- define "cht.checks.nodes" -}}
{{- $nodes := int .Values.couchdb.nodes }}
{{- $servers := lookup "v1" "ConfigMap" .Release.Namespace "couchdb-servers-configmap" | default dict }}
{{- $there := index ($servers.data | default dict) "COUCHDB_SERVERS" | default "" }}
{{- $step := "Set couchdb.nodes back. To change it, take a backup, restore it into a new namespace and move the shards as CouchDB's documentation says; couchdb.allowNodesChange=true lifts this check." }}
{{- if and $there (not .Values.couchdb.allowNodesChange) (ne (len (splitList "," $there)) $nodes) }}
{{- fail (printf "couchdb.nodes is %d and this CHT has %d. Each document is on one node only, and none would move. %s" $nodes (len (splitList "," $there)) $step) }}
{{- end }}
{{- $other := ternary "couchdb-1-claim0" "couchdb-claim0" (eq $nodes 1) }}
{{- if not .Values.couchdb.allowNodesChange }}
{{- range $claim := list $other (printf "couchdb-%d-claim0" (add $nodes 1)) }}
{{- if lookup "v1" "PersistentVolumeClaim" $.Release.Namespace $claim }}
{{- fail (printf "couchdb.nodes is %d and there is claim %s/%s, of a CHT with another number of nodes. It would start without that data. %s" $nodes $.Release.Namespace $claim $step) }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}

{{/* Of a claim only the size can change, and only upwards. */}}
{{- define "cht.checks.claims" -}}
{{- $class := .Values.couchdb.storage.className }}
{{- range $i := until (int .Values.couchdb.nodes) }}
{{- $node := include "cht.node" (dict "root" $ "index" $i) | fromJson }}
{{- $live := lookup "v1" "PersistentVolumeClaim" $.Release.Namespace $node.claim | default dict }}
{{- if and $live.spec (not $node.existing.claim) }}
{{- $there := index $live.spec "storageClassName" | default "" }}
{{- if and $class (ne $class $there) (not $node.existing) }}
{{- fail (printf "couchdb.storage.className is %s and claim %s/%s has %q. The class of a claim cannot change: leave the value empty to keep it, or restore a backup into another class (kubectl cht restore)." $class $.Release.Namespace $node.claim $there) }}
{{- end }}
{{- $wanted := $node.existing.size | default $.Values.couchdb.storage.size }}
{{- $has := $live.spec.resources.requests.storage | toString }}
{{- if lt (include "cht.bytes" $wanted | float64) (include "cht.bytes" $has | float64) }}
{{- fail (printf "couchdb.storage.size is %s and claim %s/%s has %s already. A volume cannot shrink: set the size to %s or more." $wanted $.Release.Namespace $node.claim $has $has) }}
{{- end }}
{{- if and (not $node.existing) (eq (index $live.spec "volumeName" | default "") $node.volume) }}
{{- fail (printf "couchdb.existingVolumes is empty and claim %s/%s is bound to PersistentVolume %s, which a chart made from storage that was there: without an entry for it Helm would delete that PersistentVolume. Name the same storage there; see kubectl get pv %s -o yaml and docs/takeover.md." $.Release.Namespace $node.claim $node.volume $node.volume) }}
{{- end }}
{{- if and $node.existing (not (index $live.spec "volumeName" | default "" | eq $node.volume)) }}
{{- fail (printf "couchdb.existingVolumes[%d]: claim %s/%s is there and bound to volume %s, not to %s. Leave couchdb.existingVolumes empty to keep that volume." $i $.Release.Namespace $node.claim ($live.spec.volumeName | default "none") $node.volume) }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}

{{/* A quantity in bytes. */}}
{{- define "cht.bytes" -}}
{{- $number := regexFind "^[0-9.]+" (toString .) | float64 }}
{{- $unit := regexFind "[A-Za-z]*$" (toString .) }}
{{- $factors := dict "" 1.0 "k" 1e3 "M" 1e6 "G" 1e9 "T" 1e12 "P" 1e15 "Ki" 1024.0 "Mi" 1048576.0 "Gi" 1073741824.0 "Ti" 1099511627776.0 "Pi" 1125899906842624.0 }}
{{- mulf $number (index $factors $unit | default 1.0) }}
{{- end }}

{{/* The admin's upgrade page changes image tags behind Helm's back; an upgrade of the
release with old values would take the CHT back to an older version. */}}
{{- define "cht.checks.version" -}}
{{- $api := lookup "apps/v1" "Deployment" .Release.Namespace "cht-api" | default dict }}
{{- if and $api .Values.api.enabled (not .Values.image.allowDowngrade) }}
{{- $form := "^v?[0-9]+\\.[0-9]+\\.[0-9]+" }}
{{- $runs := regexReplaceAll "^.*:" (index $api.spec.template.spec.containers 0).image "" }}
{{- $wanted := regexReplaceAll "^.*:" (include "cht.image" (dict "root" . "key" "api" "name" "cht-api")) "" }}
{{- if and (regexMatch $form $runs) (regexMatch $form $wanted) }}
{{- if semverCompare (printf "<%s" (regexFind $form $runs)) (regexFind $form $wanted) }}
{{- fail (printf "image.tag is %s and %s runs: somebody upgraded the CHT in its admin's page, and going back is not supported by the CHT. Set image.tag to %s or later, or image.allowDowngrade to true." $wanted $runs $runs) }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}

{{/* Helm installs CRDs at the first installation only, and refuses an upgrade that needs
new ones before any hook of it runs. */}}
{{- define "cht.checks.crds" -}}
{{- if and .Release.IsUpgrade .Values.backup.enabled (not (.Capabilities.APIVersions.Has "backup.communityhealthtoolkit.org/v1alpha1/BackupSchedule")) }}
{{- fail "backup.enabled: the cluster has no BackupSchedule yet, and Helm installs CRDs only with a first installation. Apply them once: helm show crds CHART | kubectl apply --server-side -f - (CHART as in this command), then upgrade again. With helm template --is-upgrade: add --api-versions backup.communityhealthtoolkit.org/v1alpha1/BackupSchedule. Or set backup.enabled to false." }}
{{- end }}
{{- end }}
