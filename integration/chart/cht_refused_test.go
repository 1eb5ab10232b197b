package chart

import (
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
)

// TestCHTRefusesBadValues: each is refused, by the schema (which names the path and the
// rule) or by a template (which says what to do), before anything is made.
func TestCHTRefusesBadValues(t *testing.T) {
	const volume = `couchdb: {existingVolumes: [{%s}]}`
	for _, c := range []struct{ name, values, says string }{
		{"a key that is not there", `couchDB: {nodes: 3}`, "additional properties 'couchDB' not allowed"},
		{"a nested one", `couchdb: {storage: {klass: fast}}`, "'klass' not allowed"},
		{"a platform", `platform: aks`, "'k3s', 'k3d', 'eks', 'gke', 'vsphere', 'other'"},
		{"no node", `couchdb: {nodes: 0}`, "/couchdb/nodes"},
		{"half a node", `couchdb: {nodes: 1.5}`, "/couchdb/nodes"},
		{"nodes as text", `couchdb: {nodes: "3"}`, "/couchdb/nodes"},
		{"too many nodes", `couchdb: {nodes: 33}`, "/couchdb/nodes"},
		{"a size without a unit that means one", `couchdb: {storage: {size: 10 GB}}`, "/couchdb/storage/size"},
		{"size zero", `couchdb: {storage: {size: 0Gi}}`, "/couchdb/storage/size"},
		{"a class with capitals", `couchdb: {storage: {className: Fast}}`, "/couchdb/storage/className"},
		{"a path out of the volume", `couchdb: {dataSubPath: ../other}`, "/couchdb/dataSubPath"},
		{"an absolute path", `couchdb: {dataSubPath: /data}`, "/couchdb/dataSubPath"},
		{"how nodes spread", `couchdb: {spread: hard}`, "'preferred', 'required', 'none'"},
		{"no grace", `couchdb: {terminationGracePeriodSeconds: 0}`, "terminationGracePeriodSeconds"},
		{"a toleration's operator", `couchdb: {tolerations: [{operator: Is}]}`, "'Equal', 'Exists'"},
		{"environment that is a map", `api: {env: {A: b}}`, "/api/env"},
		{"a number in the environment", `api: {env: [{name: A, value: 1}]}`, "/api/env/0/value"},
		{"environment that the chart gives", `couchdb: {env: [{name: A}, {name: ERL_FLAGS, value: ""}]}`, "couchdb.env[1]: ERL_FLAGS is given by the chart"},
		{"environment given twice", `nginx: {env: [{name: A}, {name: A}]}`, "nginx.env[1]: A is given"},
		{"a registry with a scheme", `image: {registry: "https://registry.example.org"}`, "/image/registry"},
		{"a tag with a blank", `image: {tag: "5 1"}`, "/image/tag"},
		{"no registry", `image: {registry: ""}`, "image.registry: no registry is given"},
		{"no tag", `image: {tag: ""}`, "image.tag: no tag is given"},
		{"no image of the upgrade service", `images: {upgradeService: ""}`, "images.upgradeService: no image is given"},
		{"a pull policy", `image: {pullPolicy: Sometimes}`, "/image/pullPolicy"},
		{"a user with a colon", `credentials: {user: "a:b"}`, "/credentials/user"},
		{"a password of two lines", "credentials: {password: \"a\\nb\"}", "credentials.password begins or ends"},
		{"a password with a blank at the end", `credentials: {password: "ab "}`, "credentials.password begins or ends"},
		{"a secret with a colon", `credentials: {secret: "a:b"}`, "credentials.secret has more than letters"},
		{"a password like a hash", `credentials: {password: "-pbkdf2-1,2,3"}`, "begins as a hash does"},
		{"a password with a comment", `credentials: {password: "a ;b"}`, "semicolon after a blank"},
		{"another name of the Secret", `credentials: {existingSecret: mine}`, "Give your Secret that name"},
		{"both Secret and password", `credentials: {existingSecret: cht-couchdb-credentials, password: x}`, "credentials.password together with credentials.existingSecret"},

		{"a volume of no kind", `couchdb: {existingVolumes: [{size: 1Gi}]}`, "/couchdb/existingVolumes/0"},
		{"a volume of two kinds", `couchdb: {existingVolumes: [{ebs: {volumeId: vol-0123456789abcdef0}, claim: x}]}`, "/couchdb/existingVolumes/0"},
		{"a snapshot in place of a volume", strings.ReplaceAll(volume, "%s", `ebs: {volumeId: snap-0123456789abcdef0}`), "volumeId"},
		{"a disk without its zone", strings.ReplaceAll(volume, "%s", `gcePd: {volumeHandle: disk}`), "volumeHandle"},
		{"a path without datastore", strings.ReplaceAll(volume, "%s", `vsphereVolume: {volumePath: couchdb}`), "volumePath"},
		{"a local volume without its node", strings.ReplaceAll(volume, "%s", `local: {path: /data}`), "nodeName"},
		{"a relative host path", strings.ReplaceAll(volume, "%s", `hostPath: {path: data}`), "hostPath/path"},
		{"fewer volumes than nodes", `couchdb: {nodes: 3, existingVolumes: [{claim: a}, {claim: b}]}`, "2 volumes for couchdb.nodes 3"},
		{"more volumes than nodes", `couchdb: {existingVolumes: [{claim: a}, {claim: b}]}`, "2 volumes for couchdb.nodes 1"},
		{"one volume twice", `couchdb: {nodes: 2, existingVolumes: [{claim: a}, {claim: a}]}`, "[1] is the same storage as [0]"},
		{"one path twice", `couchdb: {nodes: 2, existingVolumes: [{hostPath: {path: /a}, nodeName: x}, {hostPath: {path: /a}, nodeName: x}]}`, "is the same storage"},
		{"one disk on two machines", `couchdb: {nodes: 2, existingVolumes: [{ebs: {volumeId: vol-01234567}, nodeName: x}, {ebs: {volumeId: vol-01234567}, nodeName: z}]}`, "is the same storage"},
		{"a host path without its node", `couchdb: {nodes: 2, existingVolumes: [{hostPath: {path: /a}}, {hostPath: {path: /b}}]}`, "hostPath without nodeName"},
		{"more about nodes than there are", `couchdb: {perNode: [{}, {}]}`, "2 entries for couchdb.nodes 1"},

		{"no HAProxy", `haproxy: {enabled: false}`, "haproxy.enabled is false"},
		{"no healthcheck", `{couchdb: {nodes: 3}, healthcheck: {enabled: false}}`, "healthcheck.enabled is false"},
		{"a way to nowhere", `api: {enabled: false}`, "ingress.type to none"},
		{"an ingress type", `ingress: {type: traefik}`, "'ingress', 'nginx', 'none'"},
		{"a host with a scheme", `ingress: {host: "https://a.example.org"}`, "/ingress/host"},
		{"a certificate without host", `ingress: {tls: {secretName: tls}}`, "ingress.tls.secretName without ingress.host"},
		{"nginx with the other's certificate", `ingress: {type: nginx, host: a.example.org, tls: {secretName: tls}}`, "set nginx.tls.secretName"},
		{"eks without host", `{platform: eks, ingress: {eks: {discoverCertificate: true}}}`, "ingress.host is empty: on eks"},
		{"eks without certificate", `{platform: eks, ingress: {host: a.example.org}}`, "ingress.eks.certificateArn is empty"},
		{"a certificate that is no ARN", `{platform: eks, ingress: {host: a.example.org, eks: {certificateArn: cert}}}`, "certificateArn"},
		{"a managed certificate without host", `{platform: gke, ingress: {gke: {managedCertificateName: c}}}`, "a managed certificate on gke"},
		{"a port of the nodes on a ClusterIP", `{ingress: {type: nginx}, nginx: {service: {type: ClusterIP, httpsNodePort: 30443}}}`, "nginx.service.httpsNodePort with nginx.service.type ClusterIP"},

		{"a schedule of six fields", `backup: {schedule: "0 30 1 * * *"}`, "/backup/schedule"},
		{"a schedule of four fields", `backup: {schedule: "30 1 * *"}`, "/backup/schedule"},
		{"a descriptor", `backup: {schedule: "@nightly"}`, "/backup/schedule"},
		{"a clock of copies", `backup: {fileCopySchedule: "0 1 * *"}`, "/backup/fileCopySchedule"},
		{"a drill's schedule", `backup: {drill: {schedule: sundays}}`, "/backup/drill/schedule"},
		{"a zone with blanks", `backup: {timeZone: East Africa}`, "/backup/timeZone"},
		{"a zone that is an offset", `backup: {timeZone: "+03:00"}`, "/backup/timeZone"},
		{"the machine's own zone", `backup: {timeZone: Local}`, "/backup/timeZone"},
		{"a jitter without unit", `backup: {jitter: "30"}`, "/backup/jitter"},
		{"fewer than none", `backup: {keep: {daily: -1}}`, "/backup/keep/daily"},
		{"a window without unit", `backup: {keep: {within: "14"}}`, "/backup/keep/within"},
		{"a level of proof", `backup: {drill: {verify: Some}}`, "'Quick', 'Sample', 'Full'"},
		{"a controller's namespace that is too long", `cht-backup: {namespaceOverride: "{{ .Release.Namespace }}-` + strings.Repeat("x", 60) + `"}`, "no name of a namespace"},
		{"policies by address", `networkPolicy: {users: ["10.0.0.0/8"]}`, "/networkPolicy/users/0"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := Render(chtFolder, chtAlone(t, c.values), Release{Name: "cht", Namespace: "clinic"})
			if err == nil {
				t.Fatal("was taken")
			}
			if !strings.Contains(err.Error(), c.says) {
				t.Errorf("says %v, without %q", err, c.says)
			}
			if credentials, _ := chtValues(t, c.values)["credentials"].(map[string]any); credentials["password"] != nil && len(credentials["password"].(string)) > 1 && strings.Contains(err.Error(), credentials["password"].(string)) {
				t.Errorf("the message %v has the password", err)
			}
		})
	}
}

// TestCHTTakesOddValues: what looks odd and is right is not refused.
func TestCHTTakesOddValues(t *testing.T) {
	for _, values := range []string{
		`credentials: {password: "p@ss/w:rd?%+&#1 2\"'$\\{{x}}"}`, `credentials: {password: "ünï;code"}`,
		`couchdb: {dataSubPath: ""}`, `couchdb: {dataSubPath: "storage/medic-core/couchdb/data"}`, `couchdb: {erlFlags: ""}`,
		`couchdb: {storage: {size: 1.5Ti}}`, `couchdb: {nodes: 2, perNode: [{nodeName: a}]}`, `couchdb: {nodes: 2, existingVolumes: [{hostPath: {path: /a}, nodeName: x}, {hostPath: {path: /a}, nodeName: z}]}`,
		`couchdb: {existingVolumes: [{hostPath: {path: /srv/couchdb}}]}`, `couchdb: {existingVolumes: [{ebs: {volumeId: vol-01234567, partition: 1}}]}`,
		`backup: {schedule: "@every 6h", fileCopySchedule: "@weekly"}`, `backup: {schedule: "*/15 1-5 1,15 JAN MON-FRI"}`, `backup: {timeZone: America/Argentina/Buenos_Aires}`, `backup: {timeZone: Etc/GMT+3}`, `backup: {jitter: 1h30m}`,
		`image: {registry: "localhost:5000/a/b/", tag: v5.1.0-rc.1}`, `images: {api: "registry.example.org:5000/a/b@sha256:abc"}`,
		`{platform: eks, ingress: {host: a.example.org, annotations: {alb.ingress.kubernetes.io/certificate-arn: x}}}`, `{platform: gke}`, `{platform: k3s}`,
		`{ingress: {type: none}, api: {enabled: false}, sentinel: {enabled: false}, haproxy: {enabled: false}, healthcheck: {enabled: false}, upgradeService: {enabled: false}}`,
		`cht-backup: {enabled: false}`, `global: {x: y}`,
	} {
		if _, err := Render(chtFolder, chtAlone(t, values), Release{Name: "cht", Namespace: "clinic"}); err != nil {
			t.Errorf("%s: %v", values, err)
		}
	}
}

// TestNoEnvironmentTwice: whatever the chart gives cannot be given once more.
func TestNoEnvironmentTwice(t *testing.T) {
	r := renderCHT(t, "{couchdb: {nodes: 3}, api: {buildsUrl: 'https://builds.example.org'}}")
	for name, component := range map[string]string{"cht-couchdb-1": "couchdb", "cht-couchdb-2": "couchdb", "cht-haproxy": "haproxy", "cht-haproxy-healthcheck": "healthcheck",
		"cht-api": "api", "cht-sentinel": "sentinel", "upgrade-service": "upgradeService"} {
		for _, v := range named(t, r, &appsv1.Deployment{}, name).Spec.Template.Spec.Containers[0].Env {
			values := component + ": {env: [{name: " + v.Name + ", value: x}]}"
			if _, err := Render(chtFolder, chtAlone(t, values), Release{Name: "cht", Namespace: "clinic"}); err == nil || !strings.Contains(err.Error(), v.Name+" is given by the chart") {
				t.Errorf("%s: %v", values, err)
			}
		}
	}
}
